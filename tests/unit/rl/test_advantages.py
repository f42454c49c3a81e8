import math

import pytest

from tests.learner_configs import algorithm
from tracelift_ray.rl.advantages import group_advantages, has_signal, reward_std

CODE_TRAINER = algorithm(advantage_std="population", advantage_eps=1e-6, min_std=1e-6)
MATH_TRAINER = algorithm(advantage_std="sample", advantage_eps=1e-4, min_std=0.0)
DR_GRPO = algorithm(advantage_std="none", advantage_eps=0.0, min_std=0.0)


def test_the_code_trainers_setting_divides_by_the_population_deviation():
    # rewards 0, 0, 0, 1: mean 1/4, population variance 3/16
    std = math.sqrt(3) / 4
    expected = [-0.25 / (std + 1e-6)] * 3 + [0.75 / (std + 1e-6)]
    assert group_advantages([0.0, 0.0, 0.0, 1.0], CODE_TRAINER) == pytest.approx(expected, rel=1e-12)


def test_the_math_trainers_setting_divides_by_the_sample_deviation():
    # rewards 0, 0, 0, 1: sample variance 1/4
    expected = [-0.25 / 0.5001] * 3 + [0.75 / 0.5001]
    assert group_advantages([0.0, 0.0, 0.0, 1.0], MATH_TRAINER) == pytest.approx(expected, rel=1e-12)


def test_without_a_deviation_advantages_are_centred_rewards():
    assert group_advantages([0.2, 0.6, 1.0], DR_GRPO) == pytest.approx([-0.4, 0.0, 0.4])


def test_the_floor_bounds_the_divisor_and_not_larger_divisors():
    floored = algorithm(advantage_std="population", advantage_eps=0.0, min_std=0.0, std_floor=0.1)
    assert group_advantages([0.50, 0.52], floored) == pytest.approx([-0.1, 0.1])
    assert group_advantages([0.0, 1.0], floored) == pytest.approx([-1.0, 1.0])


def test_equal_rewards_carry_no_signal_even_where_their_mean_rounds():
    for config in (CODE_TRAINER, MATH_TRAINER, DR_GRPO):
        assert not has_signal([0.1] * 7, config)
        assert group_advantages([0.1] * 7, config) == (0.0,) * 7


def test_a_group_below_the_smallest_deviation_has_no_advantages():
    strict = algorithm(min_std=0.05)
    assert group_advantages([0.5, 0.52], strict) == (0.0, 0.0)
    assert has_signal([0.5, 0.7], strict)


def test_a_single_trace_has_no_signal_under_any_deviation():
    for kind in ("population", "sample", "none"):
        config = algorithm(advantage_std=kind)
        assert group_advantages([0.7], config) == (0.0,)
        assert not has_signal([0.7], config)


def test_order_does_not_matter_and_advantages_sum_to_zero():
    rewards = [0.3, -0.6, 1.2, 0.0, 0.85]
    forward = group_advantages(rewards, CODE_TRAINER)
    assert group_advantages(rewards[::-1], CODE_TRAINER) == forward[::-1]
    assert math.fsum(forward) == pytest.approx(0.0, abs=1e-12)


def test_a_missing_piece_is_refused_rather_than_counted():
    with pytest.raises(ValueError, match="finite"):
        group_advantages([0.0, math.nan], CODE_TRAINER)
    with pytest.raises(ValueError, match="without rewards"):
        group_advantages([], CODE_TRAINER)
    with pytest.raises(ValueError, match="population, sample or none"):
        reward_std([0.0, 1.0], "biased")
