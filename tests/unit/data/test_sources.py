"""The data configuration becomes train and held-out problems, with every problem left out accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.config.schema import CurriculumConfig, DataConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.data.sources import DEMO_COUNTS, resolve_sources
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.errors import DataError

NO_CURRICULUM = CurriculumConfig(False, 1.0, 0.0, 6, 4)
CONFIG = DataConfig((), (), "auto", {}, (), 0.1, "strict", 3_500, 2_500, 8, 0, "off", "", NO_CURRICULUM)


def numbered(start: int, stop: int, prefix: str = "m") -> list[dict[str, Any]]:
    return [
        {"id": f"{prefix}{i}", "task": "math", "statement": f"{i} + 1 = ?", "answer": i + 1} for i in range(start, stop)
    ]


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_without_held_out_files_a_part_of_train_is_held_out_whatever_the_seed(tmp_path: Path) -> None:
    config = replace(CONFIG, train=(write(tmp_path / "a", numbered(0, 500)),))
    train, heldout, report, _ = resolve_sources(config, seed=0, demo=demo_problems)
    assert len(train) + len(heldout) == 500
    assert 25 < len(heldout) < 80
    assert not {p.id for p in train} & {p.id for p in heldout}
    assert resolve_sources(config, seed=9, demo=demo_problems) == (train, heldout, report, None)


def test_held_out_files_are_kept_out_of_train_by_id_and_text(tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        train=(write(tmp_path / "a", numbered(0, 10)),),
        heldout=(write(tmp_path / "h", [*numbered(0, 2), *numbered(5, 8, "other")]),),
    )
    train, heldout, report, _ = resolve_sources(config, seed=0, demo=demo_problems)
    assert [p.id for p in train] == ["m2", "m3", "m4", "m8", "m9"]
    assert len(heldout) == 5
    assert (report.leakage.by_id, report.leakage.by_text) == (2, 3)
    assert report.lines()[-1] == (
        "5 train and 5 held-out problems; left out of train because they are held out: 2 by id, 3 by text"
    )


def test_train_that_is_all_held_out_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", numbered(0, 10))
    with pytest.raises(DataError, match=r"no train problem is left: 10 of data\.train are held out by id"):
        resolve_sources(replace(CONFIG, train=(path,), heldout=(path,)), seed=0, demo=demo_problems)


def test_a_problem_in_two_files_is_taken_once_and_an_id_for_two_problems_is_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a", numbered(0, 5)), write(tmp_path / "b", numbered(3, 8))
    sources = resolve_sources(replace(CONFIG, train=(one, two), heldout_fraction=0.0), seed=0, demo=demo_problems)
    assert [p.id for p in sources.train] == [f"m{i}" for i in range(8)]
    assert (sources.report.repeated, sources.heldout) == (2, ())
    clash = write(tmp_path / "c", [numbered(0, 1)[0] | {"statement": "other"}])
    with pytest.raises(DataError, match=r"c and .*a give the id 'm0' to different problems: rename one"):
        resolve_sources(replace(CONFIG, train=(one, clash)), seed=0, demo=demo_problems)


def test_the_settings_of_the_configuration_reach_the_files(tmp_path: Path) -> None:
    records = numbered(0, 5)
    records[1]["statement"] = "x" * 100
    records[2]["answer"] = ""
    config = replace(CONFIG, train=(write(tmp_path / "a", records),), heldout_fraction=0.0)
    with pytest.raises(DataError, match="a:3: answer"):
        resolve_sources(config, seed=0, demo=demo_problems)
    sources = resolve_sources(
        replace(config, on_error="skip", max_problem_chars=10, limit=3), seed=0, demo=demo_problems
    )
    assert [p.id for p in sources.train] == ["m0", "m1", "m3"]
    (report,) = sources.report.files
    assert (report.cut, report.total_faults) == (1, 1)


def test_the_demo_world_is_a_source_and_its_tasks_are_interleaved() -> None:
    config = replace(CONFIG, train=("demo:math", "demo:code"), heldout=("demo:math", "demo:code"), limit=50)
    train, heldout, report, _ = resolve_sources(config, seed=4, demo=demo_problems)
    assert [p.task for p in train[:6]] == ["code", "math"] * 3 or [p.task for p in train[:6]] == ["math", "code"] * 3
    assert {p.task for p in heldout[:2]} == {"math", "code"}
    assert not {p.statement for p in train} & {p.statement for p in heldout}
    assert [r.format for r in report.files] == ["demo"] * 4
    assert resolve_sources(config, seed=4, demo=demo_problems).train == train
    assert resolve_sources(config, seed=5, demo=demo_problems).train != train


def test_the_demo_world_has_its_own_number_of_problems() -> None:
    config = replace(CONFIG, train=("demo:math",), heldout=("demo:math",))
    train, heldout, report, _ = resolve_sources(config, seed=0, demo=demo_problems)
    assert len(heldout) == DEMO_COUNTS["heldout"]
    assert len(train) == DEMO_COUNTS["train"] - report.leakage.by_id - report.leakage.by_text


def test_an_unknown_demo_and_no_source_are_refused() -> None:
    with pytest.raises(DataError, match="'demo:poetry' is no source: the demo world has demo:math and demo:code"):
        resolve_sources(replace(CONFIG, train=("demo:poetry",)), seed=0, demo=demo_problems)
    with pytest.raises(DataError, match=r"data\.train names no source"):
        resolve_sources(CONFIG, seed=0, demo=demo_problems)


def test_weights_mix_the_sources_and_the_report_says_so(tmp_path: Path) -> None:
    for name, count in (("few", 3), ("many", 30)):
        lines = [json.dumps({"question": f"{name} {n}?", "answer": f"#### {n}"}) for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    files = (str(tmp_path / "few.jsonl"), str(tmp_path / "many.jsonl"))
    config = replace(CONFIG, train=files, weights=(1.0, 3.0), heldout_fraction=0.0)
    sources = resolve_sources(config, 0, demo_problems)
    assert sources.mixture is not None
    sampler = ProblemSampler(sources.train, 0, sources.mixture)
    drawn = [sampler.next().problem.statement.split()[0] for _ in range(len(sampler))]
    assert (drawn.count("few"), drawn.count("many")) == (3, 9)
    assert sources.report.lines()[-1].endswith(f"; an epoch is 25% of {files[0]}, 75% of {files[1]}")
    assert resolve_sources(replace(config, weights=()), 0, demo_problems).mixture is None
