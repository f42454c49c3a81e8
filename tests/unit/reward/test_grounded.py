"""Uplift, the tie rule, the two reward forms, and the two corners they have."""

import itertools

import pytest

from tracelift_ray.reward.grounded import (
    code_reward,
    count_successes,
    direction,
    is_tie,
    math_reward,
    mean_success,
    tie_coefficient,
    uplift,
)
from tracelift_ray.types import Artifact, Baseline, Execution, Verdict

TABLE = {1: 0.5}
UNIT = [n / 10 for n in range(11)]


def runs(passed: int, total: int) -> list[Execution]:
    artifact = Artifact("42", "#### 42")
    return [Execution(artifact, Verdict("passed", 1) if n < passed else Verdict("wrong_answer")) for n in range(total)]


def test_uplift_is_a_difference_of_means():
    assert count_successes(runs(2, 3)) == 2
    assert mean_success(runs(2, 3)) == pytest.approx(2 / 3)
    assert uplift(runs(3, 3), Baseline(1, 4)) == pytest.approx(0.75)
    assert uplift(runs(0, 3), Baseline(3, 3)) == -1.0


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        mean_success([])
    with pytest.raises(ValueError, match="at least one"):
        direction([], Baseline(1, 3), TABLE)


def test_for_equal_counts_a_tie_is_equality():
    for k in range(1, 9):
        for n, m in itertools.product(range(k + 1), repeat=2):
            assert is_tie(n, k, m, k) == (n == m)


def test_for_unequal_counts_rates_closer_than_half_a_sample_tie():
    assert is_tie(1, 3, 5, 16)  # |0.333 - 0.3125| < 1/6
    assert is_tie(1, 3, 7, 16)  # 0.104
    assert not is_tie(1, 3, 8, 16)  # 1/6 exactly: not closer
    assert not is_tie(0, 3, 3, 16)  # 0.1875
    for n, m in itertools.product(range(4), range(17)):
        assert is_tie(n, 3, m, 16) == (abs(48 * n // 3 - 48 * m // 16) < 8)


def test_tie_table():
    assert tie_coefficient(0, 3, TABLE) == 0.0
    assert tie_coefficient(1, 3, TABLE) == 0.5
    assert tie_coefficient(2, 3, TABLE) == pytest.approx(2 / 3)
    assert tie_coefficient(3, 3, TABLE) == 1.0
    assert tie_coefficient(1, 4, {}) == 0.25
    assert tie_coefficient(0, 3, {0: -0.1}) == -0.1


def test_direction_is_the_sign_of_the_uplift_or_the_tie_coefficient():
    assert direction(runs(2, 3), Baseline(1, 3), TABLE) == 1.0
    assert direction(runs(1, 3), Baseline(2, 3), TABLE) == -1.0
    assert direction(runs(1, 3), Baseline(1, 3), TABLE) == 0.5
    assert direction(runs(3, 3), Baseline(16, 16), TABLE) == 1.0
    assert direction(runs(1, 3), Baseline(5, 16), TABLE) == 0.5
    assert direction(runs(0, 3), Baseline(0, 16), TABLE) == 0.0


def test_math_form():
    assert math_reward(1.0, 0.8, 0.5, 0.5, 0.5) == pytest.approx(0.7)
    assert math_reward(0.0, 0.8, -1.0, 0.5, 0.5) == pytest.approx(-0.4)


def test_math_reward_lies_in_its_range_and_grows_with_its_parts():
    for e2e, q, u in itertools.product((0.0, 1.0), UNIT, [x * 2 - 1 for x in UNIT]):
        reward = math_reward(e2e, q, u, 0.5, 0.5)
        assert -0.5 <= reward <= 1.0
        assert math_reward(1.0, q, u, 0.5, 0.5) >= reward
        assert math_reward(e2e, q, min(1.0, u + 0.1), 0.5, 0.5) >= reward


def test_corner_below_the_baseline_a_better_rubric_lowers_the_reward():
    for u in (-1.0, -1 / 3):
        rewards = [math_reward(0.0, q, u, 0.5, 0.5) for q in UNIT]
        assert rewards == sorted(rewards, reverse=True) and rewards[0] > rewards[-1]
    assert code_reward(0.6, 0.9, -1.0, 0.2, None) < code_reward(0.6, 0.1, -1.0, 0.2, None)


def test_corner_a_saturated_executor_leaves_the_rubric_without_a_say_in_math():
    assert math_reward(1.0, 0.9, 0.0, 0.5, 0.5) == math_reward(1.0, 0.1, 0.0, 0.5, 0.5)


def test_code_form():
    assert code_reward(0.6, 0.5, 1.0, 0.2, None) == pytest.approx(0.7)
    assert code_reward(0.6, 0.5, -1.0, 0.2, None) == pytest.approx(0.5)
    assert code_reward(0.6, 0.5, 0.5, 0.2, None) == pytest.approx(0.65)


def test_code_reward_is_clipped_to_zero_and_to_one_plus_the_weight():
    assert code_reward(0.05, 1.0, -1.0, 0.2, None) == 0.0
    assert code_reward(1.0, 1.0, 1.0, 0.2, None) == pytest.approx(1.2)
    for e, q, c in itertools.product(UNIT, UNIT, (-1.0, 0.0, 0.5, 1.0)):
        assert 0.0 <= code_reward(e, q, c, 0.2, None) <= 1.2
        assert 0.0 <= code_reward(e, q, c, 0.2, 1.0) <= 1.0


def test_corner_the_released_clip_pays_good_and_bad_passing_traces_alike():
    good, bad = 0.95, 0.10
    for c in (0.0, 0.5, 1.0):
        assert code_reward(1.0, good, c, 0.2, 1.0) == code_reward(1.0, bad, c, 0.2, 1.0) == 1.0
    assert code_reward(1.0, good, 1.0, 0.2, None) > code_reward(1.0, bad, 1.0, 0.2, None)
