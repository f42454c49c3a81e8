"""Math answers: equal or not, and hostile ones bounded in time, size and effect."""

import threading
import time

import pytest

from tracelift_ray.types import InfrastructureError
from tracelift_ray.verification import math_answers
from tracelift_ray.verification.math_answers import MAX_ANSWER_CHARS, MathAnswers


@pytest.fixture(scope="module")
def answers():
    checker = MathAnswers(timeout_s=20.0)
    yield checker
    checker.close()


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


@pytest.mark.parametrize("answer", ["10**10**10", "1e400000", "\\frac{" * 150, "x" * 900])
def test_huge_and_twisted_answers_end_without_a_pass(answers, answer):
    assert not answers.verify(answer, "5").passed


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


def test_a_hanging_answer_times_out_and_the_next_gets_a_new_worker():
    checker = MathAnswers(timeout_s=1.5)
    try:
        checker._started()
        first = checker._worker
        started = time.perf_counter()
        verdict = checker.verify("2^{1000000000000}", "5")
        assert time.perf_counter() - started < 10
        assert verdict.outcome == "time_limit" and verdict.success == 0 and "1.5 s" in verdict.detail
        assert first is not None and first._process.poll() is not None
        checker.timeout_s = 20.0
        assert checker.verify("y+x", "x+y").passed
    finally:
        checker.close()


def test_a_worker_that_dies_idle_is_replaced():
    checker = MathAnswers(timeout_s=20.0)
    try:
        worker = checker._started()
        worker._process.kill()
        worker._process.wait()
        assert checker.verify("y+x", "x+y").passed
    finally:
        checker.close()


def test_an_answer_that_kills_the_worker_twice_fails_for_it(monkeypatch, tmp_path):
    fatal = tmp_path / "math_worker.py"
    fatal.write_text("print('ready', flush=True)\ninput()\n")
    monkeypatch.setattr(math_answers, "WORKER_FILE", fatal)
    verdict = MathAnswers(timeout_s=5.0).verify("y+x", "x+y")
    assert verdict.outcome == "runtime_error" and verdict.success == 0


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
        thread.join(timeout=60)
    assert results == {number: number % 2 == 1 for number in range(1, 9)}


def test_a_closed_checker_compares_no_more_and_leaves_no_process():
    checker = MathAnswers(timeout_s=20.0)
    worker = checker._started()
    checker.close()
    assert worker._process.poll() is not None
    with pytest.raises(InfrastructureError, match="closed"):
        checker.verify("y+x", "x+y")
