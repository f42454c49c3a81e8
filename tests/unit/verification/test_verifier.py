"""One entry for both tasks: which checker, what is remembered, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hang import HANG_S
from tests.sandboxes import sandbox_config
from tracelift_ray.config.models import PoolConfig
from tracelift_ray.config.schema import VerifierConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Artifact, CodeTests, Problem, Verdict
from tracelift_ray.verification.code_runner import RunnerReport
from tracelift_ray.verification.verifier import RememberingRunner, Verifier

CONFIG = VerifierConfig(
    math_timeout_s=10.0,
    pool=PoolConfig(workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0, max_concurrency=4, deadline_s=60.0, retries=1),
)
MATH = Problem("m", "math", "s", answer="#### 1,234")
TESTS = CodeTests("stdio", inputs=("1", "2"), outputs=("2", "4"))
CODE = Problem("c", "code", "s", tests=TESTS)


class CountingRunner:
    """Answers from a table and counts its runs."""

    report = RunnerReport("nowhere", True, ())

    def __init__(self, verdicts: dict[str, Verdict]) -> None:
        self.verdicts = verdicts
        self.ran: list[str] = []
        self.closed = False

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        self.ran.append(program)
        if program not in self.verdicts:
            raise InfrastructureError("verifier", "no verdict")
        return self.verdicts[program]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def verifier() -> Iterator[Verifier]:
    verifier = Verifier(CONFIG, sandbox_config())
    yield verifier
    verifier.close()


def test_completions_of_both_tasks_are_read_and_judged(verifier: Verifier) -> None:
    def judge(problem: Problem, text: str) -> Verdict:
        return verifier.verify(problem, Artifact(task_of(problem.task).read_artifact(problem, text), text))

    assert judge(MATH, "So he has $1,234 in all.").passed
    assert judge(MATH, "The answer is 12").outcome == "wrong_answer"
    assert judge(CODE, "```python\nprint(2 * int(input()))\n```").passed
    half = judge(CODE, "print(1 + int(input()))")
    assert (half.outcome, half.passed_tests, half.total_tests) == ("wrong_answer", 1, 2)
    report = verifier.start_runner()
    assert report.where in ("namespaces", "landlock") and report.isolated
    assert any(f"tier {report.where}: holds" in line for line in report.lines)


def test_nothing_to_check_is_a_verdict(verifier: Verifier) -> None:
    assert verifier.verify(MATH, Artifact(None, "")) == Verdict("no_artifact", 0, 1)
    assert verifier.verify(CODE, Artifact(None, "")) == Verdict("no_artifact", 0, 2)


def test_a_problem_that_cannot_be_verified_is_refused_by_name(verifier: Verifier) -> None:
    with pytest.raises(ValueError, match="problem x: a math problem without a reference answer"):
        verifier.verify(Problem("x", "math", "s"), Artifact("5", "5"))
    for tests in (None, CodeTests("stdio")):
        with pytest.raises(ValueError, match="problem y: a code problem without tests"):
            verifier.verify(Problem("y", "code", "s", tests=tests), Artifact("x", "x"))


def test_a_closed_verifier_runs_nothing() -> None:
    verifier = Verifier(CONFIG, sandbox_config())
    verifier.close()
    with pytest.raises(InfrastructureError, match="closed"):
        verifier.verify(CODE, Artifact("print(1)", ""))


def test_stopping_early_is_handed_on() -> None:
    verifier = Verifier(CONFIG, sandbox_config(), stop_early=True)
    try:
        tests = CodeTests("stdio", inputs=("1", "2"), outputs=("no", "2"))
        problem = Problem("c", "code", "s", tests=tests)
        verdict = verifier.verify(problem, Artifact("print(input())", ""))
        assert (verdict.outcome, verdict.passed_tests, verdict.total_tests) == ("wrong_answer", 0, 2)
    finally:
        verifier.close()


def test_a_program_is_run_once_for_the_same_tests() -> None:
    inner = CountingRunner({"a": Verdict("passed", 2, 2), "b": Verdict("time_limit", 1, 2)})
    runner = RememberingRunner(inner, size=10, slots=2)
    for _ in range(3):
        assert runner.run("a", TESTS) == Verdict("passed", 2, 2)
        assert runner.run("b", TESTS).outcome == "time_limit"
    assert inner.ran == ["a", "b"]
    runner.run("a", TESTS.limited(1))
    assert inner.ran == ["a", "b", "a"]
    runner.close()
    assert inner.closed


def test_a_program_that_is_being_run_is_waited_for() -> None:
    class SlowRunner(CountingRunner):
        def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
            started.set()
            assert go_on.wait(HANG_S)
            return super().run(program, tests, stop_early)

    started, go_on = threading.Event(), threading.Event()
    inner = SlowRunner({"a": Verdict("passed", 2, 2)})
    runner = RememberingRunner(inner, size=10, slots=2)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(runner.run, "a", TESTS)
        assert started.wait(HANG_S)
        others = [threads.submit(runner.run, "a", TESTS) for _ in range(3)]
        go_on.set()
        assert [each.result(HANG_S) for each in (first, *others)] == [Verdict("passed", 2, 2)] * 4
    assert inner.ran == ["a"]


def test_who_waits_for_a_verdict_takes_no_slot_and_no_more_run_than_there_are_slots() -> None:
    class SlowRunner(CountingRunner):
        def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
            super().run(program, tests, stop_early)
            begun.release()
            assert go_on.wait(HANG_S)
            return Verdict("passed", 2, 2)

    begun, go_on = threading.Semaphore(0), threading.Event()
    inner = SlowRunner(dict.fromkeys("abc", Verdict("passed", 2, 2)))
    runner = RememberingRunner(inner, size=10, slots=2)
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(runner.run, program, TESTS) for program in "aaabbc"]
        for _ in range(2):
            assert begun.acquire(timeout=HANG_S)
        assert not begun.acquire(timeout=0.2)
        go_on.set()
        assert all(each.result(HANG_S).outcome == "passed" for each in asked)
    assert sorted(inner.ran) == ["a", "b", "c"]


def test_what_has_no_verdict_is_run_again() -> None:
    inner = CountingRunner({})
    runner = RememberingRunner(inner, size=10, slots=2)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="no verdict"):
            runner.run("a", TESTS)
    assert inner.ran == ["a", "a"]


def test_the_verdicts_used_longest_ago_are_forgotten() -> None:
    inner = CountingRunner({name: Verdict("passed", 2, 2) for name in "abc"})
    runner = RememberingRunner(inner, size=2, slots=1)
    for name in "abaca":
        runner.run(name, TESTS)
    assert inner.ran == ["a", "b", "c"]
    runner.run("b", TESTS)
    assert inner.ran == ["a", "b", "c", "b"]
