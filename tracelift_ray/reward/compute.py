"""The reward of one trace, from what the executor, the verifier and the reasoning RM said of it.

A missing piece never becomes a number: what the arm requires and was not given raises ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.reward.arms import ARMS, Measured, Requirements, RewardResult
from tracelift_ray.reward.forms import RewardForm
from tracelift_ray.types import Baseline, Execution, RubricScore


def compute_reward(
    config: RewardConfig,
    form: RewardForm,
    executions: Sequence[Execution],
    fresh: Execution | None,
    baseline: Baseline | None,
    rubric: RubricScore | None,
) -> RewardResult:
    """The reward of one well-formed trace.

    Args:
        config: the arm and its constants.
        form: the parts of the task's reward.
        executions: the samples with the trace.
        fresh: the sample apart from them, where the arm asks for one.
        baseline: the executor without the trace, over at least ``requirements(config).baseline`` samples.
        rubric: the reasoning RM's score of the trace.

    Pieces that the arm does not require are ignored.

    Raises:
        ValueError: a piece that the arm requires is missing, or the RM's score lies outside [0, 1].
    """
    arm = ARMS[config.arm]
    measured = Measured(executions, fresh, baseline, None if rubric is None else rubric.score)
    _require(arm.requirements(config), measured)
    return arm.reward(measured, form, config)


def floor_reward(config: RewardConfig, form: RewardForm) -> float:
    """What a malformed trace gets under ``malformed: floor``, neither executed nor scored: the arm's lowest reward.

    So leaving the tag open never pays, whatever the executor would have made of the trace.
    """
    return ARMS[config.arm].lowest(form, config)


def floor_components(config: RewardConfig, form: RewardForm) -> Mapping[str, float]:
    """The parts of ``floor_reward``: the lowest value of each."""
    return ARMS[config.arm].lowest_components(form, config)


def _require(required: Requirements, measured: Measured) -> None:
    executions = len(measured.executions)
    if required.with_trace and executions != required.with_trace:
        raise ValueError(f"the reward needs {required.with_trace} executions with the trace and was given {executions}")
    if required.fresh and measured.fresh is None:
        raise ValueError("the reward needs the fresh execution and was given none")
    given = measured.baseline.samples if measured.baseline is not None else 0
    if given < required.baseline:
        raise ValueError(f"the reward needs {required.baseline} baseline executions and was given {given}")
    if required.rubric:
        if measured.q is None:
            raise ValueError("the reward needs the reasoning RM's score and was given none")
        if not 0.0 <= measured.q <= 1.0:
            raise ValueError(f"the reasoning RM's score is {measured.q}, outside [0, 1]")
