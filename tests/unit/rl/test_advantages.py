import math

import numpy as np
import pytest

from tests.learner_configs import algorithm
from tracelift_ray.rl.advantages import GroupRewards
from tracelift_ray.rl.signal import group_advantages


def advantages(rewards, config):
    values, has_signal = group_advantages(GroupRewards(tuple(rewards), (5,) * len(rewards)), config)
    assert has_signal == any(values)
    return values


CODE_TRAINER = algorithm(advantage_std="population", advantage_eps=1e-6, min_std=1e-6)
MATH_TRAINER = algorithm(advantage_std="sample", advantage_eps=1e-4, min_std=0.0)
DR_GRPO = algorithm(advantage_std="none", advantage_eps=0.0, min_std=0.0)


def test_the_code_trainers_setting_divides_by_the_population_deviation():
    # rewards 0, 0, 0, 1: mean 1/4, population variance 3/16
    std = math.sqrt(3) / 4
    expected = [-0.25 / (std + 1e-6)] * 3 + [0.75 / (std + 1e-6)]
    assert advantages([0.0, 0.0, 0.0, 1.0], CODE_TRAINER) == pytest.approx(expected, rel=1e-12)


def test_the_math_trainers_setting_divides_by_the_sample_deviation():
    # rewards 0, 0, 0, 1: sample variance 1/4
    expected = [-0.25 / 0.5001] * 3 + [0.75 / 0.5001]
    assert advantages([0.0, 0.0, 0.0, 1.0], MATH_TRAINER) == pytest.approx(expected, rel=1e-12)


def test_without_a_deviation_advantages_are_centred_rewards():
    assert advantages([0.2, 0.6, 1.0], DR_GRPO) == pytest.approx([-0.4, 0.0, 0.4])


def test_the_floor_bounds_the_divisor_and_not_larger_divisors():
    floored = algorithm(advantage_std="population", advantage_eps=0.0, min_std=0.0, std_floor=0.1)
    assert advantages([0.50, 0.52], floored) == pytest.approx([-0.1, 0.1])
    assert advantages([0.0, 1.0], floored) == pytest.approx([-1.0, 1.0])


def test_equal_rewards_carry_no_signal_even_where_their_mean_rounds():
    for config in (CODE_TRAINER, MATH_TRAINER, DR_GRPO):
        assert advantages([0.1] * 7, config) == (0.0,) * 7


def test_a_group_below_the_smallest_deviation_has_no_advantages():
    strict = algorithm(min_std=0.05)
    assert advantages([0.5, 0.52], strict) == (0.0, 0.0)
    assert any(advantages([0.5, 0.7], strict))


def test_a_single_trace_has_no_signal_under_any_deviation():
    for kind in ("population", "sample", "none"):
        config = algorithm(advantage_std=kind)
        assert advantages([0.7], config) == (0.0,)


def test_order_does_not_matter_and_advantages_sum_to_zero():
    rewards = [0.3, -0.6, 1.2, 0.0, 0.85]
    forward = advantages(rewards, CODE_TRAINER)
    assert advantages(rewards[::-1], CODE_TRAINER) == forward[::-1]
    assert math.fsum(forward) == pytest.approx(0.0, abs=1e-12)


def test_a_missing_piece_is_refused_rather_than_counted():
    with pytest.raises(ValueError, match="finite"):
        advantages([0.0, math.nan], CODE_TRAINER)
    with pytest.raises(ValueError, match="without rewards"):
        advantages([], CODE_TRAINER)


RLOO = algorithm(advantage="rloo", min_std=1e-6)


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    rewards = np.array([0.3, -0.6, 1.2, 0.0, 0.85])
    expected = [rewards[i] - np.delete(rewards, i).mean() for i in range(len(rewards))]
    assert advantages(rewards.tolist(), RLOO) == pytest.approx(expected, rel=1e-12)
    assert advantages([1.0, 0.0], RLOO) == (1.0, -1.0)
