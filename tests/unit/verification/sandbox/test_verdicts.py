"""What counts against a program, and what is nobody's fault."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.types import Outcome
from tracelift_ray.verification import errors
from tracelift_ray.verification.sandbox.inside.program import OUT_OF_MEMORY
from tracelift_ray.verification.sandbox.slot import Ending, ProcessEnd
from tracelift_ray.verification.sandbox.verdicts import Output, function_results, stdio_result

CPU_S = 2.0
GOOD = ProcessEnd(exit_code=0, killed=False, cpu_s=0.1, peak_kib=9000, report="R")
KILLED = replace(GOOD, exit_code=-9, killed=True)
SILENT = Output(b"", b"", False)
RIGHT = Output(b"5\n", b"", False)


def ending(*processes: ProcessEnd, killed_for: str = "", starved: bool = False) -> Ending:
    return Ending(processes, killed_for, 1.0, starved)


def stdio(process: ProcessEnd, output: Output = RIGHT, killed_for: str = "", starved: bool = False) -> Outcome:
    ended = ending(process, killed_for=killed_for, starved=starved)
    return stdio_result(ended, output, CPU_S, "5", OutputRule()).outcome


@pytest.mark.parametrize(
    ("process", "output", "killed_for", "outcome"),
    [
        (GOOD, RIGHT, "", "passed"),
        (GOOD, SILENT, "", "wrong_answer"),
        (GOOD, Output(b"5\xff", b"", False), "", "wrong_answer"),
        (GOOD, replace(RIGHT, flooded=True), "", "output_limit"),
        (KILLED, replace(RIGHT, flooded=True), "cpu", "output_limit"),
        (KILLED, RIGHT, "cpu", "time_limit"),
        (KILLED, RIGHT, "wall", "time_limit"),
        (replace(GOOD, exit_code=-24), RIGHT, "", "time_limit"),
        (replace(GOOD, exit_code=-9, cpu_s=2.5), RIGHT, "", "time_limit"),
        (replace(GOOD, exit_code=1), RIGHT, "", "runtime_error"),
        (replace(GOOD, exit_code=-11), RIGHT, "", "runtime_error"),
        (replace(GOOD, exit_code=-31), RIGHT, "", "runtime_error"),
        (replace(GOOD, exit_code=OUT_OF_MEMORY), RIGHT, "", "memory_limit"),
        (replace(GOOD, exit_code=1, report="RC"), RIGHT, "", "does_not_compile"),
    ],
)
def test_what_a_program_did_itself_counts(
    process: ProcessEnd, output: Output, killed_for: str, outcome: Outcome
) -> None:
    assert stdio(process, output, killed_for) == outcome


@pytest.mark.parametrize(
    ("process", "killed_for", "starved", "words"),
    [
        (replace(GOOD, report=""), "", False, "was not set up"),
        (replace(GOOD, report="Estep 5: PermissionError", exit_code=1), "", False, "step 5"),
        (replace(KILLED, report=""), "wall", False, "was not set up"),
        (replace(GOOD, exit_code=-9), "", False, "killed by something else"),
        (KILLED, "wall", True, "machine kept a program from running for most"),
    ],
)
def test_what_it_did_not_do_is_no_verdict(process: ProcessEnd, killed_for: str, starved: bool, words: str) -> None:
    with pytest.raises(errors.NoVerdict, match=words):
        stdio(process, RIGHT, killed_for, starved)


def function(
    *results: tuple[int, str], of: int = 3, first: int = 0, end: Ending | None = None, output: Output = SILENT
) -> list[Outcome]:
    lines = "".join(json.dumps([index, outcome, ""]) + "\n" for index, outcome in results)
    ended = end or ending(KILLED, GOOD, killed_for="over")
    return [each.outcome for each in function_results(ended, output, CPU_S, lines.encode(), range(first, of))]


def test_results_of_tests_are_taken_in_their_order() -> None:
    assert function((0, "passed"), (1, "wrong_answer"), (2, "passed")) == ["passed", "wrong_answer", "passed"]
    assert function((1, "passed"), (2, "passed"), first=1) == ["passed", "passed"]
    with pytest.raises(errors.NoVerdict, match="out of order"):
        function((1, "passed"))


@pytest.mark.parametrize(
    ("solution", "tests", "killed_for", "outcome"),
    [
        (KILLED, KILLED, "cpu", "time_limit"),
        (KILLED, KILLED, "wall", "time_limit"),
        (KILLED, replace(GOOD, exit_code=1), "over", "runtime_error"),
        (KILLED, replace(GOOD, exit_code=-9, cpu_s=3.0), "over", "time_limit"),
    ],
)
def test_the_test_that_ended_the_run_gets_its_outcome(
    solution: ProcessEnd, tests: ProcessEnd, killed_for: str, outcome: Outcome
) -> None:
    end = ending(solution, tests, killed_for=killed_for)
    assert function((0, "passed"), end=end) == ["passed", outcome]


@pytest.mark.parametrize(
    ("solution", "outcome"),
    [
        (replace(GOOD, exit_code=0), "runtime_error"),
        (replace(GOOD, exit_code=-11), "runtime_error"),
        (replace(GOOD, exit_code=OUT_OF_MEMORY), "memory_limit"),
        (replace(GOOD, exit_code=-9, cpu_s=2.5), "time_limit"),
        (KILLED, "runtime_error"),
    ],
)
def test_a_program_that_leaves_its_tests_is_judged_by_how_it_ended(solution: ProcessEnd, outcome: Outcome) -> None:
    assert function((0, "gone"), end=ending(solution, GOOD, killed_for="over")) == [outcome]


def test_processes_that_something_else_killed_make_no_verdict() -> None:
    foreign = replace(GOOD, exit_code=-9)
    with pytest.raises(errors.NoVerdict, match="something else"):
        function((0, "gone"), end=ending(foreign, GOOD, killed_for="over"))
    with pytest.raises(errors.NoVerdict, match="something else"):
        function((0, "passed"), end=ending(KILLED, foreign, killed_for="over"))
    with pytest.raises(errors.NoVerdict, match="without a result"):
        function(end=ending(KILLED, GOOD, killed_for="over"))
    with pytest.raises(errors.NoVerdict, match="machine kept"):
        function(end=ending(KILLED, KILLED, killed_for="wall", starved=True))


def test_all_output_counts_against_the_last_test_and_compiling_comes_first() -> None:
    flooded = replace(SILENT, flooded=True)
    assert function((0, "passed"), (1, "passed"), (2, "passed"), output=flooded) == ["passed", "passed", "output_limit"]
    assert function((0, "gone"), output=flooded, end=ending(KILLED, GOOD)) == ["output_limit"]
    end = ending(replace(GOOD, exit_code=1, report="RC"), GOOD)
    assert function((0, "gone"), end=end) == ["does_not_compile"]


def test_a_test_that_nothing_can_pass_is_a_fault_of_the_data() -> None:
    with pytest.raises(errors.TestsUnusable, match="test 2"):
        function((0, "passed"), (1, "unusable"))
