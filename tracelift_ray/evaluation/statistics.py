"""The statistics of an evaluation: pass@k, confidence intervals by bootstrap, and paired tests.

Pure, and deterministic: resampling is seeded. Problems are what is resampled, since attempts at one problem are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Resamples that are drawn at a time, which bounds memory.
_CHUNK = 256
_SEED = 20_260_101


@dataclass(frozen=True)
class Interval:
    """A mean over problems and its confidence interval; ``low`` and ``high`` equal ``mean`` for a single problem."""

    mean: float
    low: float
    high: float


def pass_at_k(attempts: int, successes: int, k: int) -> float:
    """The chance that at least one of ``k`` attempts succeeds, from ``attempts`` of which ``successes`` did.

    Unbiased: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374).

    Raises:
        ValueError: not 0 <= successes <= attempts, or not 1 <= k <= attempts.
    """
    if not 0 <= successes <= attempts or not 1 <= k <= attempts:
        raise ValueError(f"pass@{k} from {successes} successes of {attempts} attempts: there are too few attempts")
    return 1.0 - math.comb(attempts - successes, k) / math.comb(attempts, k)


def bootstrap(values: Sequence[float], *, confidence: float, resamples: int) -> Interval:
    """The mean of one value per problem with its percentile bootstrap interval (Efron 1979).

    Args:
        confidence: such as 0.95, in (0, 1).
        resamples: sets of problems drawn with replacement.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no value to take the mean of")
    data = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(_SEED)
    means = np.empty(resamples)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        means[start : start + size] = data[generator.integers(0, len(data), (size, len(data)))].mean(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(data.mean()), float(low), float(high))


@dataclass(frozen=True)
class PairedTest:
    """Two systems on the same problems.

    Attributes:
        difference: the mean of the first minus the mean of the second, with its paired bootstrap interval.
        only_first, only_second: problems that one of them solved at its first attempt and the other did not.
        p_value: of the exact McNemar test on these two counts, two-sided: the chance of a split at least as uneven
            if neither were better.
    """

    difference: Interval
    only_first: int
    only_second: int
    p_value: float


def paired_test(
    first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], *, confidence: float, resamples: int
) -> PairedTest:
    """Compare two systems by their attempts at the same problems, in the same order.

    Raises:
        ValueError: there is no problem, or one of them has no attempt.
    """
    rates = [sum(a) / len(a) - sum(b) / len(b) for a, b in zip(first, second, strict=True) if a and b]
    if len(rates) < len(first):
        raise ValueError("a problem without an attempt cannot be compared")
    only_first = sum(a[0] and not b[0] for a, b in zip(first, second, strict=True))
    only_second = sum(b[0] and not a[0] for a, b in zip(first, second, strict=True))
    difference = bootstrap(rates, confidence=confidence, resamples=resamples)
    return PairedTest(difference, only_first, only_second, mcnemar(only_first, only_second))


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of the exact McNemar test (McNemar 1947): a binomial test of a fair split; 1 for none."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(total, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)
