"""The executor-grounded reward: rubric quality counts as far as the trace helps the executor.

Pure formulas of the TraceLift paper (arXiv 2605.03862) and its released trainer, in terms of

- success: 1 where the executor's artifact passed, else 0;
- uplift u: mean success with the trace minus the baseline's mean success, in [-1, 1];
- q: the reasoning RM's score of the trace, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracelift_ray.types import Baseline, Execution


def count_successes(executions: Sequence[Execution]) -> int:
    """How many of the executions passed."""
    return sum(execution.verdict.success for execution in executions)


def mean_success(executions: Sequence[Execution]) -> float:
    """The share of executions that passed, in [0, 1]. Raises ValueError where there are none."""
    if not executions:
        raise ValueError("a success rate needs at least one execution")
    return count_successes(executions) / len(executions)


def uplift(with_trace: Sequence[Execution], baseline: Baseline) -> float:
    """u = mean success with the trace minus mean success without it, in [-1, 1]."""
    return mean_success(with_trace) - baseline.rate


def is_tie(successes: int, samples: int, base_successes: int, base_samples: int) -> bool:
    """Whether two success rates are closer than 1 / (2 · samples), ``samples`` being K, the draws with the trace.

    In whole numbers, so without rounding. For equal sample counts this is exact equality.
    """
    return 2 * abs(successes * base_samples - base_successes * samples) < base_samples


def tie_coefficient(successes: int, samples: int, table: Mapping[int, float]) -> float:
    """c on a tie of n = ``successes`` of K = ``samples``: ``table[n]`` where it is given, else n / K.

    n / K is 0 for n = 0 and 1 for n = K.
    """
    return table[successes] if successes in table else successes / samples


def direction(with_trace: Sequence[Execution], baseline: Baseline, table: Mapping[int, float]) -> float:
    """c of the code reward: +1 where the trace helps, -1 where it hurts, the tie coefficient where neither."""
    successes, samples = count_successes(with_trace), len(with_trace)
    base_successes, base_samples = baseline.successes, baseline.samples
    if not samples or not base_samples:
        raise ValueError("the direction needs at least one execution with the trace and one without")
    if baseline.prior_samples:
        gain = successes / samples - baseline.rate
        tie = abs(gain) < 1 / (2 * samples)
    else:
        gain = successes * base_samples - base_successes * samples
        tie = is_tie(successes, samples, base_successes, base_samples)
    if tie:
        return tie_coefficient(successes, samples, table)
    return 1.0 if gain > 0 else -1.0


def math_reward(e2e: float, q: float, u: float, execution_weight: float, grounded_weight: float) -> float:
    """R = execution_weight · e2e + grounded_weight · q · u; with the paper's 0.5 and 0.5, in [-0.5, 1].

    Where u < 0 a better q lowers R: a convincing trace that misleads the executor is worse than a poor one.
    """
    return execution_weight * e2e + grounded_weight * q * u


def code_reward(e: float, q: float, c: float, weight: float, clip_max: float | None) -> float:
    """R = clip(e + weight · q · c, 0, clip_max), where ``clip_max`` None is 1 + weight.

    With ``clip_max`` 1 a program that passes all tests (e = 1) earns 1 whatever q is, as long as c >= 0.
    """
    upper = 1.0 + weight if clip_max is None else clip_max
    return min(max(e + weight * q * c, 0.0), upper)
