"""An arm of the reward: the executor's success counts only where the reasoning RM trusts the trace.

R = e where q is at least ``reward.options.threshold``, else the lowest execution reward. To install it: copy it to
``tracelift_ray/reward/gated.py``, add ``"gated": Gated()`` to ``ARMS`` in ``reward/arms.py``, and a file
``conf/reward/gated.yaml``:

    # Success, where the reasoning RM trusts the trace.
    defaults:
      - tracelift
      - _self_

    # This arm.
    arm: gated
    # Constants of this arm.
    options:
      # The RM's score from which a trace is trusted.
      threshold: 0.5
"""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.rules import Coefficient
from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.reward.arms import ExecutionOnly, Measured, Requirements, RewardResult
from tracelift_ray.reward.forms import RewardForm


@dataclass(frozen=True)
class GatedOptions:
    """``threshold``: the score in [0, 1] from which a trace is trusted."""

    threshold: Coefficient


class Gated(ExecutionOnly):
    """See the module. What it measures beside the parent's: the rubric."""

    Options = GatedOptions

    def requirements(self, config: RewardConfig) -> Requirements:
        asked = super().requirements(config)
        return Requirements(asked.with_trace, asked.fresh, asked.baseline, rubric=True)

    def reward(self, measured: Measured, form: RewardForm, config: RewardConfig) -> RewardResult:
        assert measured.q is not None
        if measured.q >= self.options(config).threshold:
            return super().reward(measured, form, config)
        lowest = self.lowest(form, config)
        return RewardResult(lowest, None, dict.fromkeys(self.components(), lowest))

    def formula(self, form: RewardForm, config: RewardConfig) -> str:
        return f"{form.letters[0]} where q >= {self.options(config).threshold:g}, else {self.lowest(form, config):g}"

    def letters(self, form: RewardForm) -> tuple[str, ...]:
        return (form.letters[0], "q")
