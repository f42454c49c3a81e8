import pytest

from tests.unit.tracking.worlds import trajectory
from tracelift_ray.evaluation.summary import EvaluationRecord, summarise
from tracelift_ray.types import Baseline, Problem, Task, Trajectory


def record(one: Trajectory | None, baseline: Baseline | None = None, task: Task = "math") -> EvaluationRecord:
    return EvaluationRecord(Problem("p", task, "What is 3 + 4?", answer="7"), one, baseline)


def test_accuracy_baseline_and_uplift_are_means_over_problems() -> None:
    records = [
        record(trajectory(outcomes=("passed", "passed"), rubric=0.75), Baseline(0, 2)),
        record(trajectory(outcomes=("passed", "wrong_answer"), rubric=0.25), Baseline(2, 2)),
    ]
    metrics = summarise(records).metrics()
    assert metrics["evaluation/math/accuracy"] == 0.75
    assert metrics["evaluation/math/baseline"] == 0.5
    assert metrics["evaluation/math/uplift"] == 0.25
    assert metrics["evaluation/math/rm_score"] == 0.5
    # Values 1.0 and 0.5: standard deviation 0.35355, over the root of 2.
    assert metrics["evaluation/math/accuracy_stderr"] == pytest.approx(0.25)
    assert metrics["evaluation/math/problems"] == 2 and metrics["evaluation/math/trace_tokens"] == 3


def test_a_malformed_trace_solves_nothing_even_where_the_baseline_would() -> None:
    summary = summarise([record(trajectory(malformed="unclosed"), Baseline(2, 2))]).tasks["math"]
    assert (summary.accuracy, summary.uplift, summary.malformed) == (0.0, -1.0, 1.0)
    assert summary.accuracy_stderr is None


def test_an_infrastructure_error_is_no_zero() -> None:
    records = [
        record(trajectory(outcomes=("passed",)), Baseline(1, 2)),
        record(trajectory(masked="executor: died"), Baseline(1, 2)),
        record(None, Baseline(1, 2)),
        record(trajectory(outcomes=("passed",)), None),
    ]
    summary = summarise(records).tasks["math"]
    assert (summary.accuracy, summary.baseline, summary.uplift) == (1.0, 0.5, 0.5)
    assert (summary.problems, summary.masked) == (4, 0.5)


def test_when_nothing_has_a_result_figures_are_absent() -> None:
    metrics = summarise([record(None)]).metrics()
    assert metrics == {"evaluation/math/problems": 1.0, "evaluation/math/masked": 1.0}


def test_tasks_are_summarised_apart() -> None:
    records = [
        record(trajectory(outcomes=("passed",)), task="math"),
        record(trajectory(outcomes=("runtime_error",), leaked=True), task="code"),
    ]
    metrics = summarise(records).metrics()
    assert (metrics["evaluation/math/accuracy"], metrics["evaluation/code/accuracy"]) == (1.0, 0.0)
    assert (metrics["evaluation/math/leak"], metrics["evaluation/code/leak"]) == (0.0, 1.0)


def test_trace_checks_see_the_reasoning_and_malformed_traces_fail_them() -> None:
    records = [
        record(trajectory(outcomes=("passed",), reasoning="sound")),
        record(trajectory(outcomes=("passed",), reasoning="unsound")),
        record(trajectory(malformed="empty")),
        record(trajectory(masked="executor: died", reasoning="sound")),
    ]
    summary = summarise(records, {"trace_validity": lambda problem, reasoning: reasoning == "sound"})
    assert summary.metrics()["evaluation/math/trace_validity"] == pytest.approx(1 / 3)
