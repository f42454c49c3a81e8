"""What a run asks of its pools, and how the GPUs are split between them: what ``simulation.capacity`` is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from random import Random

from tracelift_ray.config.rules import Count, NotNegative, Positive, PositiveCount
from tracelift_ray.simulation.engines import Speed


@dataclass(frozen=True)
class Lengths:
    """Tokens of a completion, log-normal and cut: ``mean`` before the cut, ``spread`` of the logarithm, ``most``."""

    mean: Positive
    spread: NotNegative
    most: PositiveCount

    def draw(self, random: Random) -> int:
        """One of them, at least 1."""
        return max(1, min(self.most, round(exp(random.gauss(self._centre, self.spread)))))

    @cached_property
    def _centre(self) -> float:
        return log(self.mean) - self.spread**2 / 2


@dataclass(frozen=True)
class Seconds:
    """What something takes: one of ``measured`` where there are any, else log-normal with ``mean`` and ``spread``.

    Attributes:
        mean: seconds; 0: it takes no time.
        spread: standard deviation of the logarithm; 0: all take the mean.
        measured: samples that were measured, each as likely as any other.
    """

    mean: NotNegative
    spread: NotNegative = 0.0
    measured: tuple[NotNegative, ...] = ()

    def draw(self, random: Random, times: int = 1) -> float:
        """The sum of so many. What takes equally long every time draws nothing from ``random``."""
        if self.measured:
            return sum(random.choices(self.measured, k=times))
        if not self.spread or not self.mean:
            return self.mean * times
        centre = log(self.mean) - self.spread**2 / 2
        return sum(random.lognormvariate(centre, self.spread) for _ in range(times))

    @property
    def takes_time(self) -> bool:
        """Whether it takes any time."""
        return max(self.measured, default=self.mean) > 0


@dataclass(frozen=True)
class Workload:
    """What a run does to its pools.

    Attributes:
        traces, artifacts: tokens of the planner's and of the executor's completions.
        samples: executor samples of a trace, from one request.
        baseline: executor samples of a group without a trace.
        planner, executor: speed of one engine.
        score_s: the reasoning RM's time for one trace, of a member that takes them in turn.
        verify_s: time of a core for one artifact; 0 leaves verification out.
        verifiers: cores that verify.
        train_token_s: GPU seconds of the learner for one token, prompts included; it divides evenly over its GPUs.
        update_s: seconds of each update that more GPUs do not shorten.
        prompt: tokens of a prompt.
        broadcast_s: time of a weight broadcast, in which the planner pauses.
    """

    traces: Lengths
    artifacts: Lengths
    samples: Count
    baseline: Count
    planner: Speed
    executor: Speed
    score_s: Seconds
    verify_s: Seconds
    verifiers: PositiveCount
    train_token_s: Positive
    update_s: NotNegative
    prompt: Count
    broadcast_s: Seconds


@dataclass(frozen=True)
class Split:
    """Engines of each pool, and GPUs of the learner."""

    planner: int
    executor: int
    reasoning_rm: int
    learner: int

    def __str__(self) -> str:
        return f"planner {self.planner} executor {self.executor} RM {self.reasoning_rm} learner {self.learner}"
