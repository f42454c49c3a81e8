"""The arms of the reward: what each asks for, what it pays, and its formula in words.

An arm is an object in ``ARMS``, named by ``reward.arm``. It combines the parts of a task's ``RewardForm`` with the
rubric score q, and says nothing about tasks. A new arm is a class here and a file in ``conf/reward/``; constants that
it alone has are the fields of its ``Options``, given under ``reward.options``.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.reward.forms import RewardForm
from tracelift_ray.reward.grounded import uplift
from tracelift_ray.reward.turns import E2E
from tracelift_ray.types import Baseline, Execution

#: Parts of a reward: the execution reward (e2e or e), the uplift in [-1, 1], and the rubric score q in [0, 1].
EXECUTION, UPLIFT, RUBRIC = "execution", "uplift", "rubric"


@dataclass(frozen=True)
class Requirements:
    """What the reward of one trace is made of; nothing else is sampled or scored.

    Attributes:
        with_trace: executor samples with the trace (K, one more under ``e2e: leave_one_out``, or 0).
        fresh: one more sample with the trace, apart from those.
        baseline: executor samples without the trace, per group or per problem.
        rubric: the reasoning RM's score.
    """

    with_trace: int
    fresh: bool
    baseline: int
    rubric: bool

    @property
    def samples(self) -> int:
        """Executor samples with the trace in all; they come from one request."""
        return self.with_trace + int(self.fresh)


@dataclass(frozen=True)
class Measured:
    """What was measured of one trace: all that the arm requires, and perhaps more.

    Attributes:
        executions: the samples with the trace.
        fresh: the sample apart from them, where one is asked for.
        baseline: the executor without the trace.
        q: the reasoning RM's score of the trace, in [0, 1].
    """

    executions: Sequence[Execution]
    fresh: Execution | None
    baseline: Baseline | None
    q: float | None


@dataclass(frozen=True)
class RewardResult:
    """A trace's reward, its uplift where the arm measures one, and the parts that the arm declares, by name."""

    reward: float
    uplift: float | None
    components: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NoOptions:
    """The constants of an arm that has none beside those that all arms share."""


class Arm(ABC):
    """One way to pay for a trace. ``Options`` is a frozen dataclass of numbers, annotated as in the schema."""

    Options: ClassVar[type] = NoOptions

    @abstractmethod
    def requirements(self, config: RewardConfig) -> Requirements:
        """What has to be measured."""

    @abstractmethod
    def reward(self, measured: Measured, form: RewardForm, config: RewardConfig) -> RewardResult:
        """The reward of one well-formed trace; ``measured`` holds what ``requirements`` names."""

    @abstractmethod
    def lowest(self, form: RewardForm, config: RewardConfig) -> float:
        """The lowest reward that a trace can get, which is what a malformed one gets under ``malformed: floor``."""

    @abstractmethod
    def formula(self, form: RewardForm, config: RewardConfig) -> str:
        """The right side of ``R = …``, with the constants in force."""

    @abstractmethod
    def letters(self, form: RewardForm) -> tuple[str, ...]:
        """The letters in ``formula``; as many for every form."""

    def components(self) -> tuple[str, ...]:
        """Names of the parts that every reward of this arm is made of, for estimators that weigh them one by one."""
        return ()

    def lowest_components(self, form: RewardForm, config: RewardConfig) -> Mapping[str, float]:
        """The lowest value of each part, which a malformed trace gets under ``malformed: floor``."""
        lowest = {EXECUTION: form.lowest_executed(config), UPLIFT: -1.0, RUBRIC: 0.0}
        return {name: lowest[name] for name in self.components()}

    def options(self, config: RewardConfig) -> Any:
        """``reward.options`` as this arm's ``Options``.

        Raises:
            ConfigError: a constant that the arm does not have, lacks, or that is out of range.
        """
        from tracelift_ray.config.load import to_dataclass

        if config.options and not fields(self.Options):
            right = f"must be empty: reward.arm={config.arm} has only the constants that all arms share"
            raise ConfigError("reward.options", config.options, right)
        return to_dataclass(self.Options, config.options, key="reward.options")


#: Samples without a trace that a reward needs, by ``reward.baseline``.
BASELINES: dict[str, Callable[[RewardConfig], int]] = {
    "per_group": lambda config: config.num_samples,
    "cached": lambda config: config.cached_samples,
    "pooled": lambda config: config.baseline_samples,
}


class Grounded(Arm):
    """Execution, and the uplift as far as the rubric trusts the trace; without ``rubric`` q is 1."""

    def __init__(self, *, rubric: bool) -> None:
        self.rubric = rubric

    def requirements(self, config: RewardConfig) -> Requirements:
        baseline, split = BASELINES[config.baseline](config), E2E[config.e2e]
        return Requirements(config.num_samples + split.more, split.fresh, baseline, self.rubric)

    def reward(self, measured: Measured, form: RewardForm, config: RewardConfig) -> RewardResult:
        assert measured.baseline is not None
        q = measured.q if self.rubric and measured.q is not None else 1.0
        turns = E2E[config.e2e].turns(measured.executions, measured.fresh)
        paid = [form.executed(paid, config) for paid, _ in turns]
        rewards = [
            form.combine(executed, q, compared, measured.baseline, config)
            for executed, (_, compared) in zip(paid, turns, strict=True)
        ]
        reward, executed = statistics.fmean(rewards), statistics.fmean(paid)
        gain = uplift(measured.executions, measured.baseline)
        parts = {EXECUTION: executed, UPLIFT: gain, RUBRIC: q}
        return RewardResult(reward, gain, {name: parts[name] for name in self.components()})

    def components(self) -> tuple[str, ...]:
        return (EXECUTION, UPLIFT, RUBRIC) if self.rubric else (EXECUTION, UPLIFT)

    def lowest(self, form: RewardForm, config: RewardConfig) -> float:
        return form.lowest(config)

    def formula(self, form: RewardForm, config: RewardConfig) -> str:
        return form.formula(config, self.rubric)

    def letters(self, form: RewardForm) -> tuple[str, ...]:
        return (*form.letters, "q") if self.rubric else form.letters


class ExecutionOnly(Arm):
    """The executor's result with the trace, and nothing else: no baseline, no reasoning RM."""

    def requirements(self, config: RewardConfig) -> Requirements:
        apart = E2E[config.e2e].apart
        return Requirements(0 if apart else config.num_samples, apart, 0, rubric=False)

    def reward(self, measured: Measured, form: RewardForm, config: RewardConfig) -> RewardResult:
        paid = (measured.fresh,) if E2E[config.e2e].apart else measured.executions
        executed = form.executed([each for each in paid if each is not None], config)
        return RewardResult(executed, None, {EXECUTION: executed})

    def components(self) -> tuple[str, ...]:
        return (EXECUTION,)

    def lowest(self, form: RewardForm, config: RewardConfig) -> float:
        return form.lowest_executed(config)

    def formula(self, form: RewardForm, config: RewardConfig) -> str:
        return form.letters[0]

    def letters(self, form: RewardForm) -> tuple[str, ...]:
        return form.letters[:1]


class RubricOnly(Arm):
    """The reasoning RM's score alone; the executor does not run."""

    def requirements(self, config: RewardConfig) -> Requirements:
        return Requirements(0, False, 0, rubric=True)

    def reward(self, measured: Measured, form: RewardForm, config: RewardConfig) -> RewardResult:
        assert measured.q is not None
        return RewardResult(measured.q, None, {RUBRIC: measured.q})

    def components(self) -> tuple[str, ...]:
        return (RUBRIC,)

    def lowest(self, form: RewardForm, config: RewardConfig) -> float:
        return 0.0

    def formula(self, form: RewardForm, config: RewardConfig) -> str:
        return "q"

    def letters(self, form: RewardForm) -> tuple[str, ...]:
        return ("q",)


ARMS: dict[str, Arm] = {
    "tracelift": Grounded(rubric=True),
    "exec_only": ExecutionOnly(),
    "rm_only": RubricOnly(),
    "uplift_only": Grounded(rubric=False),
}


def requirements(config: RewardConfig) -> Requirements:
    """What ``config.arm`` has to be given for one trace."""
    return ARMS[config.arm].requirements(config)
