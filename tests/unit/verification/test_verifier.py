"""One entry for both tasks: which checker, what is remembered, and what is refused."""

from dataclasses import replace

import pytest

from tracelift_ray.config.schema import PoolConfig, VerifierConfig
from tracelift_ray.tasks.artifacts import read_artifact
from tracelift_ray.types import Artifact, CodeTests, Completion, InfrastructureError, Problem, Verdict
from tracelift_ray.verification.verifier import RememberingRunner, Verifier

CONFIG = VerifierConfig(
    backend="subprocess",
    cpu_s=5.0,
    wall_s=20.0,
    memory_mib=256,
    output_kib=64,
    math_timeout_s=10.0,
    pool=PoolConfig(workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0, max_concurrency=4, deadline_s=60.0, retries=1),
)
MATH = Problem("m", "math", "s", answer="#### 1,234")
TESTS = CodeTests("stdio", inputs=("1", "2"), outputs=("2", "4"))
CODE = Problem("c", "code", "s", tests=TESTS)


class CountingRunner:
    """Answers from a table and counts its runs."""

    def __init__(self, verdicts: dict[str, Verdict]) -> None:
        self.verdicts = verdicts
        self.ran: list[str] = []
        self.closed = False

    def run(self, program: str, tests: CodeTests) -> Verdict:
        self.ran.append(program)
        return self.verdicts[program]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def verifier():
    verifier = Verifier(CONFIG)
    yield verifier
    verifier.close()


def test_completions_of_both_tasks_are_read_and_judged(verifier):
    def judge(problem: Problem, text: str) -> Verdict:
        return verifier.verify(problem, read_artifact(problem, Completion((), text, "stop")))

    assert judge(MATH, "So he has $1,234 in all.").passed
    assert judge(MATH, "The answer is 12").outcome == "wrong_answer"
    assert judge(CODE, "```python\nprint(2 * int(input()))\n```").passed
    half = judge(CODE, "print(1 + int(input()))")
    assert (half.outcome, half.passed_tests, half.total_tests) == ("wrong_answer", 1, 2)


def test_nothing_to_check_is_a_verdict(verifier):
    assert verifier.verify(MATH, Artifact(None, "")) == Verdict("no_artifact", 0, 1)
    assert verifier.verify(CODE, Artifact(None, "")) == Verdict("no_artifact", 0, 2)


def test_a_problem_that_cannot_be_verified_is_refused_by_name(verifier):
    with pytest.raises(ValueError, match="problem x: a math problem without a reference answer"):
        verifier.verify(Problem("x", "math", "s"), Artifact("5", "5"))
    for tests in (None, CodeTests("stdio")):
        with pytest.raises(ValueError, match="problem y: a code problem without tests"):
            verifier.verify(Problem("y", "code", "s", tests=tests), Artifact("x", "x"))


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"verifier.backend='docker': one of subprocess"):
        Verifier(replace(CONFIG, backend="docker"))


def test_a_closed_verifier_runs_nothing():
    verifier = Verifier(CONFIG)
    verifier.close()
    with pytest.raises(InfrastructureError, match="closed"):
        verifier.verify(CODE, Artifact("print(1)", ""))


def test_a_program_is_run_once_for_the_same_tests():
    inner = CountingRunner({"a": Verdict("passed", 2, 2), "b": Verdict("wrong_answer", 1, 2)})
    runner = RememberingRunner(inner, size=10)
    for _ in range(3):
        assert runner.run("a", TESTS) == Verdict("passed", 2, 2)
        assert runner.run("b", TESTS).outcome == "wrong_answer"
    assert inner.ran == ["a", "b"]
    runner.run("a", TESTS.limited(1))
    assert inner.ran == ["a", "b", "a"]
    runner.close()
    assert inner.closed


def test_what_ran_out_of_time_is_run_again():
    inner = CountingRunner({"slow": Verdict("time_limit", 0, 2)})
    runner = RememberingRunner(inner, size=10)
    runner.run("slow", TESTS)
    runner.run("slow", TESTS)
    assert inner.ran == ["slow", "slow"]


def test_the_verdicts_used_longest_ago_are_forgotten():
    inner = CountingRunner({name: Verdict("passed", 2, 2) for name in "abc"})
    runner = RememberingRunner(inner, size=2)
    for name in "abaca":
        runner.run(name, TESTS)
    assert inner.ran == ["a", "b", "c"]
    runner.run("b", TESTS)
    assert inner.ran == ["a", "b", "c", "b"]
