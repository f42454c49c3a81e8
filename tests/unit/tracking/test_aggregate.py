import pytest

from tests.unit.tracking.worlds import group, scored, trajectory
from tracelift_ray.tracking.aggregate import batch_metrics, cause_name
from tracelift_ray.types import Baseline


def test_rewards_successes_and_uplift_are_means_over_unmasked_traces() -> None:
    groups = [
        group(
            trajectory(outcomes=("passed", "passed"), uplift=0.5, reward=1.0, rubric=0.8),
            trajectory(outcomes=("wrong_answer", "passed"), uplift=0.0, reward=0.0, rubric=0.4),
            trajectory(outcomes=("passed",), masked="reasoning_rm: unreachable"),
            baseline=Baseline(1, 2),
        )
    ]
    metrics = batch_metrics(list(map(scored, groups)), 0)
    assert metrics["reward/mean"] == 0.5 and metrics["reward/std"] == 0.5
    assert metrics["system/success"] == 0.75
    assert metrics["system/baseline"] == 0.5
    assert metrics["system/uplift"] == 0.25
    assert metrics["rubric/score"] == pytest.approx(0.6)
    assert metrics["stream/masked"] == pytest.approx(1 / 3)
    assert metrics["stream/masked_reasoning_rm"] == pytest.approx(1 / 3)
    assert metrics["stream/traces"] == 2


def test_each_task_has_its_own_figures_and_dimensions() -> None:
    groups = [
        group(trajectory(reward=1.0, rubric=0.5), task="math"),
        group(trajectory(reward=0.0, rubric=0.7), task="code"),
    ]
    metrics = batch_metrics(list(map(scored, groups)), 0)
    assert (metrics["reward/mean"], metrics["reward/math/mean"], metrics["reward/code/mean"]) == (0.5, 1.0, 0.0)
    assert metrics["rubric/math/solution_strategy"] == 3.0
    assert metrics["rubric/code/action_support"] == 1.0
    assert "rubric/math/action_support" not in metrics and "rubric/solution_strategy" not in metrics


def test_the_rate_of_a_guess_is_a_metric_of_tasks_that_have_one() -> None:
    groups = [
        group(trajectory(reward=0.0), task="choice", statement="Which?\nA. x\nB. y\nC. z\nD. w"),
        group(trajectory(reward=0.0), serial=1),
    ]
    metrics = batch_metrics(list(map(scored, groups)), 0)
    assert metrics["system/choice/chance"] == 0.25 and "system/math/chance" not in metrics
    assert metrics["system/chance"] == 0.125


def test_a_floored_malformed_trace_counts_as_no_success_and_by_kind() -> None:
    groups = [group(trajectory(outcomes=("passed",), reward=1.0), trajectory(malformed="unclosed", reward=0.0))]
    metrics = batch_metrics(list(map(scored, groups)), 0)
    assert metrics["system/success"] == 0.5
    assert metrics["system/malformed"] == 0.5 and metrics["system/malformed_unclosed"] == 0.5
    assert metrics["system/malformed_empty"] == 0.0


def test_the_fresh_sample_counts_as_a_sample_with_the_trace() -> None:
    groups = [group(trajectory(outcomes=("passed",), fresh="runtime_error", reward=0.0), task="code")]
    metrics = batch_metrics(list(map(scored, groups)), 0)
    assert metrics["system/success"] == 0.5 and metrics["system/outcome_runtime_error"] == 0.5


def test_signal_is_the_share_of_groups_that_move_the_policy() -> None:
    one = group(trajectory(reward=0.5), trajectory(reward=0.6))
    groups = [scored(one, has_signal=True), scored(one), scored(group(trajectory(masked="executor: died")))]
    assert batch_metrics(groups, 0)["reward/signal"] == pytest.approx(1 / 3)


def test_the_corners_of_the_reward_are_counted() -> None:
    groups = [
        group(trajectory(uplift=-0.5, reward=0.0), trajectory(uplift=0.0, reward=0.0), baseline=Baseline(3, 3)),
        group(trajectory(uplift=1.0, reward=1.0), trajectory(uplift=1.0, reward=1.0), baseline=Baseline(0, 3)),
    ]
    metrics = batch_metrics(list(map(scored, groups)), 0)
    assert metrics["reward/negative_uplift"] == 0.25 and metrics["reward/full_baseline"] == 0.5


def test_staleness_counts_from_the_learners_version() -> None:
    groups = [group(trajectory(version=3, reward=0.0), trajectory(version=5, reward=1.0))]
    metrics = batch_metrics(list(map(scored, groups)), 5)
    assert metrics["stream/staleness_mean"] == 1.0 and metrics["stream/staleness_max"] == 2.0


def test_what_an_arm_does_not_measure_is_absent_and_not_zero() -> None:
    metrics = batch_metrics([scored(group(trajectory(rubric=0.5, reward=0.5)))], 0)
    assert not {"system/success", "system/baseline", "system/uplift", "reward/full_baseline"} & metrics.keys()
    metrics = batch_metrics([scored(group(trajectory(masked="verifier: gone")))], 0)
    assert "reward/mean" not in metrics and metrics["stream/masked"] == 1.0
    assert batch_metrics([], 0) == {"stream/groups": 0.0, "stream/traces": 0.0}


def test_causes_become_few_and_plain_names() -> None:
    assert cause_name("executor: engine died at 0x7f01") == "executor"
    assert cause_name("reasoning RM: HTTP 503") == "reasoning_rm"
    assert cause_name(": x") == "unknown"
