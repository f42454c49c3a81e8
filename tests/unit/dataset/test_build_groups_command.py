"""The command that builds groups: what it writes, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from launch.conf_files import CONFIG_DIR
from tests.hang import HANG_S
from tests.unit.dataset.cases import write_problems
from tests.unit.dataset.configs import build_config
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.data.rubric_records import load_rubric_records
from tracelift_ray.dataset.build import build as make

ROOT = CONFIG_DIR.parent


def build(*overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch.build_groups", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)


def test_a_data_set_is_made_with_its_card(tmp_path: Path) -> None:
    source = write_problems(tmp_path / "in.jsonl", 60)
    done = build(f"source={source}", f"out={tmp_path}/out", "licence=MIT")
    assert done.returncode == 0, done.stderr
    train, heldout = (
        load_rubric_records(tmp_path / "out/train.jsonl"),
        load_rubric_records(tmp_path / "out/heldout.jsonl"),
    )
    assert len(train) + len(heldout) == 54 and len(heldout) > 0
    left_out = [json.loads(line) for line in (tmp_path / "out/left_out.jsonl").read_text().splitlines()]
    assert [entry["reason"] for entry in left_out] == ["fewer than two calculations that can be read"] * 6
    assert f"{len(train)} groups in {tmp_path}/out/train.jsonl, {len(heldout)} held out" in done.stdout
    assert "60 of 60 problems in" in done.stdout
    card = (tmp_path / "out/README.md").read_text()
    assert "**Licence**: MIT" in card and f"| train.jsonl | {len(train)} |" in card
    for group in train:
        assert group.problem.answer and all(trace.labels == (4,) * 5 for trace in group.positives)
        assert 3 <= len(group.negatives) <= 8 and all(trace.total < 1 for trace in group.negatives)


def test_problems_of_another_form_make_groups_where_the_source_says_how_they_are_read(tmp_path: Path) -> None:
    source = write_problems(tmp_path / "in.jsonl", 12)
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    other = [{"asked": row["question"], "worked": row["answer"]} for row in rows]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    done = build(f"source='{tmp_path}/other.jsonl?format=gsm8k&question=asked&answer=worked'", f"out={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert "question from asked, answer from worked): 12 of 12 records loaded" in done.stdout
    refused = build(f"source='{tmp_path}/other.jsonl?asked'", f"out={tmp_path}/none")
    assert refused.returncode == 2 and "asked is no setting behind the ?" in refused.stderr


def test_seed_and_problem_alone_decide_what_is_made(tmp_path: Path) -> None:
    source = write_problems(tmp_path / "in.jsonl", 30)
    rows = source.read_text().splitlines(keepends=True)
    (tmp_path / "turned.jsonl").write_text("".join(rows[::-1][:20]))
    turned = (f"source={tmp_path}/turned.jsonl", "format=gsm8k")
    for name, overrides in (("a", ()), ("b", ("seed=1",)), ("c", turned), ("d", ("limit=10",))):
        done = build(f"source={source}", f"out={tmp_path}/{name}", "heldout_fraction=0", "concurrency=3", *overrides)
        assert done.returncode == 0, done.stderr
    a, b, c, d = ({g.problem.id: g for g in load_rubric_records(tmp_path / name / "train.jsonl")} for name in "abcd")
    assert c and all(c[id] == a[id] for id in c)
    assert 0 < len(d) <= 10 and all(d[id] == a[id] for id in d)
    assert a.keys() == b.keys() and all(a[id].negatives != b[id].negatives for id in a)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("perturb.negatives=0", "perturb.negatives=0: must be 1 or more"),
        ("perturb.kind=magic", "perturb.kind=magic: must be rule or llm"),
        ("judge=oracle", "judge=oracle: must be rule, llm or both"),
        ("heldout_fraction=1", "heldout_fraction=1: must be 0 or more and below 1"),
        ("clean.max_chars=10", "clean.max_chars=10: must be more than clean.min_chars=20"),
        ("clean.min_negatives=9", "clean.min_negatives=9: must be at most perturb.negatives=8"),
        ("traces.successes=4", "traces.successes=4: must be at most traces.executions=3"),
        ("traces.kind=sampled", "planner.model='': must be a Hugging Face directory, because traces.kind=sampled"),
        ("traces.kind=llm", "llm.remote.base_url='': must be the address of an OpenAI-compatible server"),
        ("judge=llm", "llm.remote.base_url='': must be the address of an OpenAI-compatible server"),
        ("+perturb.elegance=1", "perturb.elegance: no such key"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_config("source=x", "out=y", override)
    assert message in str(raised.value)


def test_useless_problems_and_a_busy_directory_get_one_line(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"question": "One?", "answer": "It is one.\n#### 1"}) + "\n")
    done = build(f"source={tmp_path}/in.jsonl", f"out={tmp_path}/out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "no problem makes a group (fewer than two calculations that can be read 1)" in done.stderr
    assert not (tmp_path / "out/train.jsonl").exists()


def test_a_finished_data_set_of_other_problems_is_not_replaced_in_silence(tmp_path: Path) -> None:
    out = f"out={tmp_path}/out"
    source = write_problems(tmp_path / "in.jsonl", 40)
    (tmp_path / "few.jsonl").write_text("".join(source.read_text().splitlines(keepends=True)[:12]))
    config = build_config(f"source={source}", out, "heldout_fraction=0")
    asyncio.run(make(config, say=lambda line: None))
    before = (tmp_path / "out/train.jsonl").read_bytes()
    fewer = f"source={tmp_path / 'few.jsonl'}"
    with pytest.raises(ConfigError, match=r"^out=.*: holds 36 groups, 26 of them of other .* or overwrite=true"):
        asyncio.run(make(build_config(fewer, out, "heldout_fraction=0"), say=lambda line: None))
    asyncio.run(make(config, say=lambda line: None))
    assert (tmp_path / "out/train.jsonl").read_bytes() == before
    asyncio.run(make(build_config(fewer, out, "heldout_fraction=0", "overwrite=true"), say=lambda line: None))
    assert len(load_rubric_records(tmp_path / "out/train.jsonl")) < 12
