import itertools
import math
import random

import pytest

from tracelift_ray.evaluation.statistics import bootstrap, mcnemar, paired_test, pass_at_k


@pytest.mark.parametrize(
    ("attempts", "successes", "k"), [(5, 2, 1), (5, 2, 3), (6, 1, 2), (4, 0, 4), (4, 4, 1), (3, 2, 2)]
)
def test_pass_at_k_is_the_share_of_all_choices_of_k_attempts_with_a_success(
    attempts: int, successes: int, k: int
) -> None:
    choices = list(itertools.combinations(range(attempts), k))
    share = sum(any(index < successes for index in choice) for choice in choices) / len(choices)
    assert pass_at_k(attempts, successes, k) == pytest.approx(share)


def test_pass_at_k_needs_k_attempts() -> None:
    for attempts, successes, k in ((3, 1, 4), (3, 4, 1), (3, -1, 1), (3, 1, 0)):
        with pytest.raises(ValueError, match="too few attempts"):
            pass_at_k(attempts, successes, k)


def test_pass_at_k_is_unbiased() -> None:
    rng, rate, k = random.Random(0), 0.3, 2
    estimates = [pass_at_k(5, sum(rng.random() < rate for _ in range(5)), k) for _ in range(20_000)]
    assert sum(estimates) / len(estimates) == pytest.approx(1 - (1 - rate) ** k, abs=0.01)


def test_a_bootstrap_interval_is_that_of_the_normal_approximation_for_many_problems() -> None:
    rng = random.Random(1)
    values = [float(rng.random() < 0.4) for _ in range(800)]
    interval = bootstrap(values, confidence=0.95, resamples=4_000)
    mean = sum(values) / len(values)
    error = 1.96 * math.sqrt(mean * (1 - mean) / len(values))
    assert interval.mean == pytest.approx(mean)
    assert interval.low == pytest.approx(mean - error, abs=0.004)
    assert interval.high == pytest.approx(mean + error, abs=0.004)
    assert bootstrap(values, confidence=0.5, resamples=4_000).low > interval.low
    assert interval == bootstrap(values, confidence=0.95, resamples=4_000)


def test_an_interval_needs_a_value_and_is_a_point_for_one() -> None:
    assert vars(bootstrap([0.25], confidence=0.95, resamples=100)) == {"mean": 0.25, "low": 0.25, "high": 0.25}
    with pytest.raises(ValueError, match="no value"):
        bootstrap([], confidence=0.95, resamples=100)


def test_mcnemar_is_the_two_sided_binomial_test_of_the_problems_that_differ() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar(900, 1100) == pytest.approx(8.5e-6, rel=0.1)


def test_pairing_sees_a_difference_that_unpaired_intervals_hide() -> None:
    first = [[index % 2 == 0] for index in range(60)]
    second = [[index % 2 == 0 and index >= 16] for index in range(60)]
    test = paired_test(first, second, confidence=0.95, resamples=2_000)
    assert (test.only_first, test.only_second) == (8, 0)
    assert test.difference.mean == pytest.approx(8 / 60) and test.difference.low > 0
    assert test.p_value == pytest.approx(2 / 2**8)
    unpaired = [
        bootstrap([float(each[0]) for each in some], confidence=0.95, resamples=2_000) for some in (first, second)
    ]
    assert unpaired[1].high > unpaired[0].low


def test_several_attempts_count_by_their_rate_and_mcnemar_by_the_first() -> None:
    test = paired_test([[False, True], [True, True]], [[True, False], [True, True]], confidence=0.9, resamples=200)
    assert (test.difference.mean, test.only_first, test.only_second) == (0.0, 0, 1)
    with pytest.raises(ValueError, match="without an attempt"):
        paired_test([[]], [[True]], confidence=0.9, resamples=200)
