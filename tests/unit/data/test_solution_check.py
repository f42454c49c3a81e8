"""Reference solutions are judged once; faults of the data are told from failures of the machine."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.data import solution_check
from tracelift_ray.data.solution_check import SolutionFault, SolutionReport, check_solutions
from tracelift_ray.data.solution_memory import SolutionMemory
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests, Problem, Verdict
from tracelift_ray.verification import errors

LIMITS = SandboxConfig("sandbox", None, "auto", None, (), 2.0, 6.0, 1024, 256, 16, 64, 64, (), "")
TESTS = CodeTests("stdio", inputs=("1",), outputs=("1",))


def problem(name: str, solution: str | None) -> Problem:
    return Problem(name, "code", f"do {name}", tests=TESTS, solution=solution)


class Scripted:
    """A runner whose programs are the names of what becomes of them."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.closed = threading.Event()

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        self.ran.append(program)
        if program == "starved":
            raise errors.NoVerdict("the machine was busy")
        if program == "odd":
            raise errors.TestsUnusable("the set-up fails by itself")
        if program == "endless":
            if not self.closed.wait(HANG_S):
                raise AssertionError("was never closed")
            raise InfrastructureError("verifier", "closed")
        return Verdict("passed", 1) if program == "right" else Verdict("wrong_answer", 0, 1, "test 1\nof 1")

    def close(self) -> None:
        self.closed.set()


def check(problems: list[Problem], directory: Path, runner: Scripted, limits: SandboxConfig = LIMITS) -> SolutionReport:
    memory = SolutionMemory(directory, limits, "landlock")
    return asyncio.run(check_solutions(problems, runner, memory, 2, print))


PROBLEMS = [
    problem("a", "right"),
    problem("b", "wrong"),
    problem("c", "odd"),
    problem("d", "starved"),
    problem("e", None),
    Problem("m", "math", "1 + 1", answer="2", solution="add"),
]


def test_faults_of_the_data_are_told_from_failures_of_the_machine(tmp_path: Path) -> None:
    report = check(PROBLEMS, tmp_path, Scripted())
    assert report.faults == (
        SolutionFault("b", "wrong_answer", "test 1 of 1"),
        SolutionFault("c", "tests_unusable", "the set-up fails by itself"),
    )
    assert report.unjudged == (("d", "the machine was busy"),)
    assert (report.ran, report.remembered, report.without) == (3, 0, 1)
    assert [p.id for p in report.sound(PROBLEMS)] == ["a", "d", "e", "m"]


def test_the_report_names_ids_and_reasons(tmp_path: Path) -> None:
    lines = check(PROBLEMS, tmp_path, Scripted()).lines(dropped=True)
    assert lines[0] == (
        "reference solutions: 1 of 3 pass their own tests; 1 code problems have none; 1 could not be judged and stay, "
        "first: d: the machine was busy; left out:"
    )
    assert lines[1:] == ("  b: wrong_answer (test 1 of 1)", "  c: tests_unusable (the set-up fails by itself)")
    assert "kept all the same" in check(PROBLEMS, tmp_path, Scripted()).lines(dropped=False)[0]
    many = check([problem(f"p{i}", "wrong") for i in range(50)], tmp_path, Scripted()).lines(dropped=True)
    assert len(many) == 22 and many[-1] == "  and 30 more"


def test_a_second_check_runs_only_what_is_new_or_was_not_judged(tmp_path: Path) -> None:
    first = check(PROBLEMS, tmp_path, Scripted())
    runner = Scripted()
    again = check([*PROBLEMS, problem("new", "also wrong")], tmp_path, runner)
    assert sorted(runner.ran) == ["also wrong", "starved"]
    assert again.faults == (*first.faults, SolutionFault("new", "wrong_answer", "test 1 of 1"))
    assert again.remembered == 3


@pytest.mark.parametrize(
    "changed",
    [
        (replace(LIMITS, cpu_s=9.0), PROBLEMS[0]),
        (replace(LIMITS, packages="/opt/more"), PROBLEMS[0]),
        (LIMITS, replace(PROBLEMS[0], tests=replace(TESTS, outputs=("2",)))),
        (LIMITS, replace(PROBLEMS[0], tests=replace(TESTS, exact=True))),
    ],
    ids=["limit", "packages", "tests", "comparison"],
)
def test_other_limits_or_tests_are_checked_anew(tmp_path: Path, changed: tuple[SandboxConfig, Problem]) -> None:
    check([PROBLEMS[0]], tmp_path, Scripted())
    runner = Scripted()
    check([changed[1]], tmp_path, runner, changed[0])
    assert runner.ran == ["right"]


def test_the_number_of_slots_does_not_count(tmp_path: Path) -> None:
    check([PROBLEMS[0]], tmp_path, Scripted())
    runner = Scripted()
    check([PROBLEMS[0]], tmp_path, runner, replace(LIMITS, slots=9, cores=(0, 1)))
    assert runner.ran == []


def test_what_is_not_ours_in_the_cache_is_passed_over(tmp_path: Path) -> None:
    check([PROBLEMS[0]], tmp_path, Scripted())
    (tmp_path / "0.jsonl").write_bytes(b'{"key": 1}\n\xff\n{"torn')
    runner = Scripted()
    check([PROBLEMS[0]], tmp_path, runner)
    assert runner.ran == []


def test_a_disk_that_refuses_costs_only_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report = check(PROBLEMS, tmp_path / "file" / "cache", Scripted())
    assert len(report.faults) == 2


def test_a_solution_in_a_fence_is_taken_out_of_it(tmp_path: Path) -> None:
    runner = Scripted()
    check([problem("f", "So:\n```python\nright\n```\nDone.")], tmp_path, runner)
    assert [program.strip() for program in runner.ran] == ["right"]


def test_an_interrupted_check_ends_its_runs_and_keeps_what_it_found(tmp_path: Path) -> None:
    runner = Scripted()
    problems = [problem("a", "right"), *(problem(f"p{i}", "endless") for i in range(10))]

    async def interrupted() -> None:
        memory = SolutionMemory(tmp_path, LIMITS, "landlock")
        task = asyncio.create_task(check_solutions(problems, runner, memory, 2, print))
        while len(runner.ran) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert len(runner.ran) < 6, "what had not started never does"
    later = Scripted()
    check([problems[0]], tmp_path, later)
    assert later.ran == []


def test_a_long_check_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solution_check, "PROGRESS_EVERY_S", 0.05)
    runner = Scripted()
    threading.Timer(0.4, runner.close).start()
    told: list[str] = []
    memory = SolutionMemory(tmp_path, LIMITS, "landlock")
    asyncio.run(check_solutions([problem("a", "right"), problem("b", "endless")], runner, memory, 1, told.append))
    assert any(re.fullmatch(r"reference solutions: 1 of 2 have run, ETA \d+:\d\d:\d\d", line) for line in told)
