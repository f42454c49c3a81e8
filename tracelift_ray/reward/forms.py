"""How a task is rewarded for its executions, and how that is grounded in what the trace did for the executor.

A form is two pure formulas of the TraceLift paper (arXiv 2605.03862) and its released trainer, and the same in words.
A task names its form; an arm of the reward decides which of the two formulas it uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.reward.execution import execution_reward, lowest_execution_reward
from tracelift_ray.reward.grounded import code_reward, direction, math_reward, mean_success, uplift
from tracelift_ray.types import Baseline, Execution


class RewardForm(Protocol):
    """The reward of one task.

    Attributes:
        letters: what the formula calls the execution reward, and what it calls the trace's effect on the executor.
    """

    letters: tuple[str, str]

    def executed(self, executions: Sequence[Execution], config: RewardConfig) -> float:
        """The execution reward: of the fresh sample, or of all of them. Raises ValueError for none."""

    def combine(
        self, executed: float, q: float, executions: Sequence[Execution], baseline: Baseline, config: RewardConfig
    ) -> float:
        """The grounded reward.

        Args:
            executed: the execution reward.
            q: the reasoning RM's score in [0, 1]; 1 where the arm uses none.
            executions: the K samples with the trace.
            baseline: the executor without it.
        """

    def lowest_executed(self, config: RewardConfig) -> float:
        """The lowest value of ``executed``."""

    def lowest(self, config: RewardConfig) -> float:
        """The lowest value of ``combine``: nothing works, and a trace of q = 1 takes away what worked without it."""

    def formula(self, config: RewardConfig, rubric: bool) -> str:
        """``combine`` in words, with the constants in force; ``rubric``: whether q is in it."""

    def meanings(self, config: RewardConfig, executed: str, baseline: str) -> tuple[str, str]:
        """What the two letters mean; the samples that they are measured on come in words."""


class AnswerForm:
    """R = execution_weight · e2e + grounded_weight · q · u: for tasks whose artifact is right or wrong."""

    letters = ("e2e", "u")

    def executed(self, executions: Sequence[Execution], config: RewardConfig) -> float:
        """The mean success, in [0, 1]."""
        return mean_success(executions)

    def combine(
        self, executed: float, q: float, executions: Sequence[Execution], baseline: Baseline, config: RewardConfig
    ) -> float:
        """With the paper's weights in [-0.5, 1]."""
        u = uplift(executions, baseline)
        return math_reward(executed, q, u, config.math_execution_weight, config.math_grounded_weight)

    def lowest_executed(self, config: RewardConfig) -> float:
        """No success."""
        return 0.0

    def lowest(self, config: RewardConfig) -> float:
        """With the paper's weights -0.5."""
        return math_reward(0.0, 1.0, -1.0, config.math_execution_weight, config.math_grounded_weight)

    def formula(self, config: RewardConfig, rubric: bool) -> str:
        """Such as ``0.5 e2e + 0.5 q u``."""
        a, b = config.math_execution_weight, config.math_grounded_weight
        return f"{a:g} e2e + {b:g} {'q ' if rubric else ''}u"

    def meanings(self, config: RewardConfig, executed: str, baseline: str) -> tuple[str, str]:
        """Of e2e and u."""
        count = config.num_samples
        uplift = f"uplift, mean success of {count} samples with the trace minus without (baseline: {baseline})"
        return f"success of {executed}", uplift


class ProgramForm:
    """R = clip(e + weight · q · c, 0, clip_max): for tasks whose artifact is a program."""

    letters = ("e", "c")

    def executed(self, executions: Sequence[Execution], config: RewardConfig) -> float:
        """The mean execution reward in the configured style."""
        rewards = [execution_reward(each.verdict, config.execution_style) for each in executions]
        if not rewards:
            raise ValueError("an execution reward needs at least one execution")
        return sum(rewards) / len(rewards)

    def combine(
        self, executed: float, q: float, executions: Sequence[Execution], baseline: Baseline, config: RewardConfig
    ) -> float:
        """In [0, clip_max]."""
        c = direction(executions, baseline, config.tie_table)
        return code_reward(executed, q, c, config.code_grounded_weight, config.clip_max)

    def lowest_executed(self, config: RewardConfig) -> float:
        """A program that does not compile, in the configured style."""
        return lowest_execution_reward(config.execution_style)

    def lowest(self, config: RewardConfig) -> float:
        """The lower bound of the clip in every style."""
        return code_reward(self.lowest_executed(config), 1.0, -1.0, config.code_grounded_weight, config.clip_max)

    def formula(self, config: RewardConfig, rubric: bool) -> str:
        """Such as ``clip(e + 0.2 q c, 0, 1.2)``."""
        weight = config.code_grounded_weight
        upper = 1 + weight if config.clip_max is None else config.clip_max
        return f"clip(e + {weight:g} {'q ' if rubric else ''}c, 0, {upper:g})"

    def meanings(self, config: RewardConfig, executed: str, baseline: str) -> tuple[str, str]:
        """Of e and c."""
        count = config.num_samples
        ties = ", ".join(f"{n} of {count}: {c:g}" for n, c in sorted(config.tie_table.items()))
        ties = f"{ties}, else n / {count}" if ties else f"n / {count}"
        return (
            f"execution reward, {config.execution_style}, of {executed}",
            f"+1 where the trace helps, -1 where it hurts, on a tie by successes n ({ties}; baseline: {baseline})",
        )
