from dataclasses import replace

import pytest

from tests.unit.evaluation.cases import PROBLEMS, result
from tracelift_ray.evaluation.summary import summarise


def test_accuracy_baseline_and_uplift_are_means_over_problems() -> None:
    results = [result("a", "11", "00"), result("b", "10", "11", leaked=True)]
    metrics = summarise(PROBLEMS[:2], results).metrics()
    assert metrics["evaluation/math/accuracy"] == 0.75
    assert metrics["evaluation/math/baseline"] == 0.5
    assert metrics["evaluation/math/uplift"] == 0.25
    # Values 1.0 and 0.5: standard deviation 0.35355, over the root of 2.
    assert metrics["evaluation/math/accuracy_stderr"] == pytest.approx(0.25)
    assert metrics["evaluation/math/leak"] == 0.5 and metrics["evaluation/math/rm_score"] == 0.5
    assert metrics["evaluation/math/problems"] == 2 and metrics["evaluation/math/trace_tokens"] == 4
    assert metrics["evaluation/math/ok"] == 1.0


def test_a_malformed_trace_solves_nothing_even_where_the_baseline_would() -> None:
    summary = summarise(PROBLEMS[:1], [result("a", "00", "11", malformed=True)]).tasks["math"]
    assert (summary.accuracy, summary.uplift, summary.malformed) == (0.0, -1.0, 1.0)
    assert summary.accuracy_stderr is None


def test_a_problem_without_a_result_is_no_zero() -> None:
    summary = summarise(PROBLEMS, [result("a", "11", "10")]).tasks["math"]
    assert (summary.accuracy, summary.baseline, summary.uplift) == (1.0, 0.5, 0.5)
    assert (summary.problems, summary.masked) == (3, pytest.approx(2 / 3))


def test_when_nothing_has_a_result_figures_are_absent() -> None:
    assert summarise(PROBLEMS[:1], []).metrics() == {"evaluation/math/problems": 1.0, "evaluation/math/masked": 1.0}


def test_the_rate_of_a_guess_stands_beside_the_baseline_where_there_is_one() -> None:
    asked = [replace(PROBLEMS[0], task="choice", statement="Which?\nA. one\nB. two")]
    metrics = summarise([*asked, PROBLEMS[1]], [replace(result("a", "1", "0"), task="choice")]).metrics()
    assert metrics["evaluation/choice/chance"] == 0.5 and "evaluation/math/chance" not in metrics


def test_tasks_are_summarised_apart() -> None:
    problems = [PROBLEMS[0], replace(PROBLEMS[1], task="code")]
    metrics = summarise(problems, [result("a", "1", "0"), replace(result("b", "0", "0"), task="code")]).metrics()
    assert (metrics["evaluation/math/accuracy"], metrics["evaluation/code/accuracy"]) == (1.0, 0.0)
