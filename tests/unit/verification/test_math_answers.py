"""Math answers: equal or not, and hostile ones bounded in time, size and effect."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.verification import math_answers
from tracelift_ray.verification.math_answers import MAX_ANSWER_CHARS, MathAnswers
from tracelift_ray.verification.math_worker import MEMORY_BYTES


@pytest.fixture(scope="module")
def checker_of_all():
    checker = MathAnswers(timeout_s=20.0)
    yield checker
    checker.close()


@pytest.fixture
def answers(checker_of_all):
    """One checker for all tests, since starting its worker takes most of a second."""
    checker_of_all.timeout_s = 20.0
    checker_of_all._started()
    return checker_of_all


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("72", "72"),
        ("#### 1,234", "1234"),
        ("$18.00", "18"),
        ("18 dollars", "18"),
        ("\\boxed{\\frac12}", "0.5"),
        ("50%", "\\frac{1}{2}"),
        ("x^2+1", "1+x^2"),
        ("x**2 + 1", "x^2+1"),
        ("2*pi", "2\\pi"),
        ("$\\frac{\\sqrt{3}}{2}$", "sqrt(3)/2"),
        ("3\\sqrt{2}", "\\sqrt{18}"),
        ("(1,2)", "\\left(1, 2\\right)"),
        ("\\{2, 1\\}", "\\{1,2\\}"),
        ("[0, \\infty)", "[0,\\infty)"),
        ("\\text{(A)}", "A"),
        ("\\text{east}", "east"),
        ("x=5", "5"),
    ],
)
def test_equal_answers_pass(answers, answer, reference):
    verdict = answers.verify(answer, reference)
    assert verdict.passed and (verdict.passed_tests, verdict.total_tests) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("73", "72"),
        ("5x", "5"),
        ("5 or 6", "6"),
        ("12,34", "12"),
        ("B", "A"),
        ("[0,1)", "(0,1)"),
        ("x^2", "x^3"),
        ("\u0665", "5"),
        ("1\x005", "15"),
        ("\\frac{", "5"),
    ],
)
def test_other_answers_fail(answers, answer, reference):
    verdict = answers.verify(answer, reference)
    assert verdict.outcome == "wrong_answer" and verdict.success == 0 and verdict.passed_tests == 0


def test_nothing_is_no_artifact(answers):
    assert answers.verify(" $ $ ".replace("$", ""), "5").outcome == "no_artifact"


HOSTILE = [
    "10**10**10",
    "9^9^9^9",
    "1e400000",
    "((9!)!)!",
    "9^{9^{9^9}} - 9^{9^{9^9}} + 5",
    "\\operatorname{ones}(99999,99999)",
    "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{99999999}",
    "\\frac{" * 150,
    "{" * 480 + "5" + "}" * 480,
    "[0,1]\\cup" * 99 + "[0,1]",
    "\\input{/dev/zero}",
    "\\" * 999,
    "5" + "\u200b" * 900,
    "5\x00",
    "x" * 900,
]


def test_huge_and_twisted_answers_end_in_time_and_without_a_pass(answers):
    answers.timeout_s = 0.25
    for answer in HOSTILE:
        started = time.perf_counter()
        verdict = answers.verify(answer, "5")
        assert verdict.outcome in ("wrong_answer", "time_limit", "memory_limit", "runtime_error"), answer
        assert time.perf_counter() - started < math_answers.WALL_PER_CPU * 0.25 + math_answers.WALL_EXTRA_S + 5, answer
    answers.timeout_s = 20.0
    assert answers.verify("y+x", "x+y").passed


def test_a_megabyte_is_wrong_unread(answers):
    started = time.perf_counter()
    for piece in ("9", "\\frac{1}{", "(", "x+"):
        verdict = answers.verify(piece * (1_000_000 // len(piece)), "5")
        assert verdict.outcome == "wrong_answer" and "not read" in verdict.detail
    assert time.perf_counter() - started < 1
    assert MAX_ANSWER_CHARS < 1_000_000


def test_plain_numbers_need_no_process():
    checker = MathAnswers(timeout_s=5.0)
    assert checker.verify("1,234", "1234").passed and not checker.verify("5 apples", "6").passed
    assert checker._worker is None


def test_an_answer_that_hangs_fails_and_leaves_the_worker_as_it_was(answers):
    worker = answers._worker
    answers.timeout_s = 0.5
    verdict = answers.verify("2^{1000000000000}", "5")
    assert verdict.outcome == "time_limit" and verdict.success == 0 and "0.5 s of CPU" in verdict.detail
    assert answers._worker is worker and not children(worker._process.pid)


def test_memory_is_bounded(answers):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert not answers.verify("\\operatorname{zeros}(20000,20000)", "5").passed
    answers._worker.kill()  # Only then are its children counted among those of this process.
    answers._worker = None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak <= max(before, MEMORY_BYTES // 1024), "the matrix alone would take 3 GiB"


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_comparison_that_the_machine_ends_or_starves_is_no_verdict(fault, answers, monkeypatch):
    """Kills or stops every comparison from outside; the answer would otherwise reach its time limit."""
    monkeypatch.setattr(math_answers, "WALL_EXTRA_S", 0.0)
    answers.timeout_s = 0.25
    stopped = threading.Event()

    def disturb() -> None:
        while not stopped.wait(0.02):
            worker = answers._worker
            with suppress(OSError):  # worker or comparison ended just now
                for child in children(worker._process.pid) if worker is not None else ():
                    os.kill(child, fault)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        cause = "killed from outside" if fault == signal.SIGKILL else "s of CPU in"
        with pytest.raises(InfrastructureError, match=f"could not be compared: .*{cause}"):
            answers.verify("2^{1000000000000}", "5")
    finally:
        stopped.set()
        thread.join()


OWNER = """
import sys
from tracelift_ray.verification.math_answers import MathAnswers
checker = MathAnswers(60.0)
print(checker._started()._process.pid, flush=True)
checker.verify("2^{1000000000000}", "5")
"""


def test_nothing_outlives_an_owner_that_is_killed():
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        comparing = next(iter(_eventually(lambda: children(worker))))
    finally:
        owner.kill()
        owner.wait()
    _eventually(lambda: [gone for gone in [not _runs(worker) and not _runs(comparing)] if gone])


def _eventually(found) -> Iterator[int]:
    deadline = time.monotonic() + HANG_S
    while not (result := found()):
        assert time.monotonic() < deadline, "waited 20 s for the worker's processes to start or to end"
        time.sleep(0.02)
    return result


def _runs(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_worker_knows_no_secret_of_its_owner(answers, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hush")
    answers._worker.kill()
    answers._worker = None
    assert b"hush" not in Path(f"/proc/{answers._started()._process.pid}/environ").read_bytes()


def test_a_worker_that_dies_idle_is_replaced(answers):
    answers._worker._process.kill()
    answers._worker._process.wait()
    assert answers.verify("y+x", "x+y").passed


def test_a_worker_that_dies_when_asked_is_an_infrastructure_error(monkeypatch, tmp_path):
    fatal = tmp_path / "math_worker.py"
    fatal.write_text("print('ready', flush=True)\ninput()\n")
    monkeypatch.setattr(math_answers, "WORKER_FILE", fatal)
    with pytest.raises(InfrastructureError, match="the math worker died"):
        MathAnswers(timeout_s=5.0).verify("y+x", "x+y")


def test_a_worker_that_cannot_start_is_an_infrastructure_error(monkeypatch, tmp_path):
    checker = MathAnswers(timeout_s=5.0)
    monkeypatch.setattr(math_answers, "WORKER_FILE", tmp_path / "missing.py")
    with pytest.raises(InfrastructureError, match="math worker ended at once"):
        checker.verify("y+x", "x+y")
    monkeypatch.setattr(math_answers.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(InfrastructureError, match="does not start"):
        checker.verify("y+x", "x+y")


def test_threads_share_one_worker(answers):
    results: dict[int, bool] = {}

    def check(number: int) -> None:
        results[number] = answers.verify(f"x+{number}", f"{number % 2 * number}+x").passed

    threads = [threading.Thread(target=check, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG_S)
    assert results == {number: number % 2 == 1 for number in range(1, 9)}


def test_a_closed_checker_compares_no_more_and_leaves_no_process():
    checker = MathAnswers(timeout_s=20.0)
    worker = checker._started()
    checker.close()
    assert worker._process.poll() is not None
    with pytest.raises(InfrastructureError, match="closed"):
        checker.verify("y+x", "x+y")
