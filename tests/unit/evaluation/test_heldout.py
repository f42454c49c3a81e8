from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.unit.config.composed import compose_config
from tests.unit.evaluation.cases import PROBLEMS, System, result
from tracelift_ray.evaluation.heldout import HeldOutEvaluation, evaluation_metrics
from tracelift_ray.planning.run_config import to_run_config


async def test_the_same_held_out_problems_are_evaluated_each_time_and_their_baselines_once() -> None:
    run = to_run_config(compose_config("experiment=quickstart", "evaluation.problems=2", "evaluation.num_samples=3"))
    system = System()
    system.pools = SimpleNamespace(reasoning_rm=None)  # type: ignore[attr-defined]
    evaluation = HeldOutEvaluation(run, system, PROBLEMS, {"short": lambda problem, text: True})  # type: ignore[arg-type]
    metrics = [await evaluation() for _ in range(2)]
    assert metrics[0] == metrics[1]
    assert metrics[0]["evaluation/math/problems"] == 2 and metrics[0]["evaluation/math/accuracy"] == 1.0
    assert metrics[0]["evaluation/math/uplift"] == 1.0 and metrics[0]["evaluation/math/short"] == 1.0
    assert "evaluation/math/rm_score" not in metrics[0]
    assert len(system.details("planner")) == 4 and len(system.details("baseline")) == 2
    assert all(detail[0] == 0 and detail[1] for detail in system.details("planner"))  # type: ignore[index]


def test_accuracy_baseline_and_uplift_are_means_over_problems() -> None:
    results = [result("a", "11", "00"), result("b", "10", "11", leaked=True)]
    metrics = evaluation_metrics(PROBLEMS[:2], results)
    assert metrics["evaluation/math/accuracy"] == 0.75
    assert metrics["evaluation/math/baseline"] == 0.5
    assert metrics["evaluation/math/uplift"] == 0.25
    # Values 1.0 and 0.5: standard deviation 0.35355, over the root of 2.
    assert metrics["evaluation/math/accuracy_stderr"] == pytest.approx(0.25)
    assert metrics["evaluation/math/leak"] == 0.5 and metrics["evaluation/math/rm_score"] == 0.5
    assert metrics["evaluation/math/problems"] == 2 and metrics["evaluation/math/trace_tokens"] == 4
    assert metrics["evaluation/math/ok"] == 1.0


def test_a_malformed_trace_solves_nothing_even_where_the_baseline_would() -> None:
    metrics = evaluation_metrics(PROBLEMS[:1], [result("a", "00", "11", malformed=True)])
    assert [metrics[f"evaluation/math/{name}"] for name in ("accuracy", "uplift", "malformed")] == [0.0, -1.0, 1.0]
    assert "evaluation/math/accuracy_stderr" not in metrics


def test_a_problem_without_a_result_is_no_zero() -> None:
    metrics = evaluation_metrics(PROBLEMS, [result("a", "11", "10")])
    assert [metrics[f"evaluation/math/{name}"] for name in ("accuracy", "baseline", "uplift")] == [1.0, 0.5, 0.5]
    assert metrics["evaluation/math/problems"] == 3 and metrics["evaluation/math/masked"] == pytest.approx(2 / 3)


def test_when_nothing_has_a_result_figures_are_absent() -> None:
    assert evaluation_metrics(PROBLEMS[:1], []) == {"evaluation/math/problems": 1.0, "evaluation/math/masked": 1.0}


def test_the_rate_of_a_guess_stands_beside_the_baseline_where_there_is_one() -> None:
    asked = [replace(PROBLEMS[0], task="choice", statement="Which?\nA. one\nB. two")]
    metrics = evaluation_metrics([*asked, PROBLEMS[1]], [replace(result("a", "1", "0"), task="choice")])
    assert metrics["evaluation/choice/chance"] == 0.5 and "evaluation/math/chance" not in metrics


def test_tasks_are_summarised_apart() -> None:
    problems = [PROBLEMS[0], replace(PROBLEMS[1], task="code")]
    metrics = evaluation_metrics(problems, [result("a", "1", "0"), replace(result("b", "0", "0"), task="code")])
    assert (metrics["evaluation/math/accuracy"], metrics["evaluation/code/accuracy"]) == (1.0, 0.0)
