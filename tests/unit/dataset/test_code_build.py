"""Groups of code problems, from the problem file to the card."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE, code_problem
from tests.unit.dataset.configs import build_config
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.data.problems import write_problems
from tracelift_ray.data.rubric_records import load_rubric_records
from tracelift_ray.dataset.build import build
from tracelift_ray.dataset.code_rules.plans import CODE_LABELS


def test_reference_programs_become_groups_and_the_same_bytes_again(tmp_path: Path) -> None:
    problems = [
        COUNT_EVEN,
        code_problem(UNIQUE.solution or "", *(UNIQUE.tests.asserts if UNIQUE.tests else ()), id="u"),
    ]
    problems.append(code_problem("class A:\n    pass\ndef f(a):\n    return a\n", "assert f(1) == 1", id="refused"))
    write_problems(tmp_path / "in.jsonl", problems)
    for name in ("a", "b"):
        config = build_config(f"source={tmp_path}/in.jsonl", f"out={tmp_path}/{name}", "heldout_fraction=0")
        asyncio.run(build(config, say=lambda line: None))
    groups = {group.problem.id: group for group in load_rubric_records(tmp_path / "a" / "train.jsonl")}
    assert set(groups) == {COUNT_EVEN.id, "u"}
    assert {trace.negative_kind for group in groups.values() for trace in group.negatives} == set(CODE_LABELS)
    assert groups["u"].problem.tests == UNIQUE.tests
    card = (tmp_path / "a" / "README.md").read_text()
    assert "the reference program defines a class" in card and "`leaked_implementation`" in card
    for file in ("train.jsonl", "left_out.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_rules_for_plans_that_were_not_narrated_are_refused_before_anything_starts(tmp_path: Path) -> None:
    write_problems(tmp_path / "in.jsonl", [COUNT_EVEN])
    server = ("llm.remote.base_url=http://127.0.0.1:9/v1", "llm.remote.model=m")
    config = build_config(f"source={tmp_path}/in.jsonl", f"out={tmp_path}/out", "traces.kind=llm", *server)
    with pytest.raises(ConfigError, match=r"perturb\.kind=rule: must be llm"):
        asyncio.run(build(config, say=lambda line: None))
    assert not (tmp_path / "out").exists()
