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


def test_a_standard_error_is_over_problems_of_what_each_came_to() -> None:
    results = [result("a", "11", "00"), result("b", "10", "11"), result("c", "00", "00", malformed=True)]
    results[2] = replace(results[2], traces=(replace(results[2].traces[0], checks={}),))
    metrics = evaluation_metrics(PROBLEMS, results)
    # Standard deviations over the root of 3: of 1, 0.5, 0; of 0, 1, 0; of 1, -0.5, 0; of 1, 1, 0.
    expected = {"accuracy": 0.28868, "baseline": 0.33333, "uplift": 0.44096, "ok": 0.33333}
    assert {name: metrics[f"evaluation/math/{name}_stderr"] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_traces_of_one_problem_are_no_separate_draws() -> None:
    checked = [replace(result("a", "11", "00").traces[0], rm_score=score) for score in (0.2, 0.4)]
    other = replace(checked[0], rm_score=0.9)
    results = [
        replace(result("a", "11", "00"), traces=tuple(checked)),
        replace(result("b", "11", "00"), traces=(other,)),
    ]
    metrics = evaluation_metrics(PROBLEMS[:2], results)
    # Of 0.3 and 0.9: standard deviation 0.42426, over the root of 2.
    assert metrics["evaluation/math/rm_score_stderr"] == pytest.approx(0.3)
    unscored = [replace(each, traces=(replace(other, rm_score=None),)) for each in results]
    assert "evaluation/math/rm_score_stderr" not in evaluation_metrics(PROBLEMS[:2], unscored)


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
