"""The reward of one trace, by arm and task, from what the executor, the verifier and the reasoning RM said of it.

A missing piece never becomes a number: what the arm needs and was not given raises ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.reward.execution import execution_reward
from tracelift_ray.reward.grounded import code_reward, direction, math_reward, mean_success, uplift
from tracelift_ray.reward.needs import RewardNeeds, reward_needs
from tracelift_ray.types import Baseline, Execution, RubricScore


@dataclass(frozen=True)
class RewardResult:
    """A trace's reward, and its uplift where the arm measures one."""

    reward: float
    uplift: float | None


#: What a malformed trace earns under ``malformed: floor``, before advantages: it is neither executed nor scored.
FLOORED = RewardResult(reward=0.0, uplift=None)


def compute_reward(
    config: RewardConfig,
    task: str,
    executions: Sequence[Execution],
    fresh: Execution | None,
    baseline: Baseline | None,
    rubric: RubricScore | None,
) -> RewardResult:
    """The reward of one well-formed trace.

    Args:
        config: the arm and its constants.
        task: ``math`` or ``code``.
        executions: the K samples with the trace.
        fresh: the sample apart from the K, under ``e2e: fresh``.
        baseline: the executor without the trace, over at least ``reward_needs(config).baseline`` samples.
        rubric: the reasoning RM's score of the trace.

    Pieces that the arm does not need are ignored.

    Raises:
        ValueError: a piece that the arm needs is missing, or the RM's score lies outside [0, 1].
    """
    needs = reward_needs(config)
    _require(needs, executions, fresh, baseline, rubric)
    q = rubric.score if needs.rubric and rubric is not None else 1.0
    if config.arm == "rm_only":
        return RewardResult(q, None)
    run = [fresh] if needs.fresh and fresh is not None else list(executions)
    if task == "math":
        executed = mean_success(run)
    else:
        executed = sum(execution_reward(each.verdict, config.execution_style) for each in run) / len(run)
    if baseline is None or not needs.baseline:
        return RewardResult(executed, None)
    u = uplift(executions, baseline)
    if task == "math":
        reward = math_reward(executed, q, u, config.math_execution_weight, config.math_grounded_weight)
    else:
        c = direction(executions, baseline, config.tie_table)
        reward = code_reward(executed, q, c, config.code_grounded_weight, config.clip_max)
    return RewardResult(reward, u)


def _require(
    needs: RewardNeeds,
    executions: Sequence[Execution],
    fresh: Execution | None,
    baseline: Baseline | None,
    rubric: RubricScore | None,
) -> None:
    if needs.with_trace and len(executions) != needs.with_trace:
        raise ValueError(
            f"the reward needs {needs.with_trace} executions with the trace and was given {len(executions)}"
        )
    if needs.fresh and fresh is None:
        raise ValueError("the reward needs the fresh execution (e2e: fresh) and was given none")
    given = baseline.samples if baseline is not None else 0
    if given < needs.baseline:
        raise ValueError(f"the reward needs {needs.baseline} baseline executions and was given {given}")
    if needs.rubric:
        if rubric is None:
            raise ValueError("the reward needs the reasoning RM's score and was given none")
        if not 0.0 <= rubric.score <= 1.0:
            raise ValueError(f"the reasoning RM's score is {rubric.score}, outside [0, 1]")
