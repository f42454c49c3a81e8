"""Groups of code problems, from the problem file to the card."""

import asyncio
from pathlib import Path

from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE, code_problem
from tests.unit.dataset.configs import build_config
from tracelift_ray.data.problems import write_problems
from tracelift_ray.data.rubric_records import load_rubric_records
from tracelift_ray.dataset.build import build
from tracelift_ray.dataset.code_rules.rubrics import KINDS


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
    assert {trace.negative_kind for group in groups.values() for trace in group.negatives} == set(KINDS)
    assert groups["u"].problem.tests == UNIQUE.tests
    card = (tmp_path / "a" / "README.md").read_text()
    assert "the reference program defines a class" in card and "`leaked_implementation`" in card
    for file in ("train.jsonl", "left_out.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
