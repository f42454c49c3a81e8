"""The study of executor samples: its world agrees with the library and with enumeration, its page with its parts."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import executor_tokens, executor_world
from benchmarks.executor_world import FIXED, KINDS, Scheme, World
from tests.unit.reward.test_compute import CODE, CONFIG, MATH
from tests.unit.reward.test_turns import moments
from tracelift_ray.rl.advantages import GroupRewards
from tracelift_ray.rl.signal import group_advantages

ALGORITHM = executor_tokens.settings().algorithm
LEAVE_ONE_OUT = Scheme("", "leave_one_out", 1, 2)


@pytest.mark.parametrize("form", [MATH, CODE], ids=["math", "code"])
@pytest.mark.parametrize("scheme", [replace(FIXED, k=2, baseline=2), LEAVE_ONE_OUT], ids=["fresh", "leave_one_out"])
def test_expectation_and_variance_are_those_of_the_rewards_drawn_one_by_one(form, scheme):
    p = np.full((1, KINDS), 0.3)
    world = World(p, np.full((1, KINDS), 14), np.full((1, KINDS), 1 / KINDS), np.array([0.4]))
    found = executor_world.moments(world, scheme, executor_world.table(scheme, form, CONFIG, 0.5))
    chances = (0.3, 0.7 * 0.6, 0.7 * 0.4)
    drawn = moments(replace(scheme.config(CONFIG), cached_samples=2), form, chances, 0.4, 0.7)
    assert (found.mean[0, 0], found.variance[0, 0]) == pytest.approx(drawn, abs=1e-12)


@pytest.mark.parametrize("rewards", [(0.1, 0.9, 0.4, 0.4), (0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.501, 0.5)])
def test_advantages_are_the_librarys(rewards):
    expected = group_advantages(GroupRewards(rewards, (1,) * 4), ALGORITHM)[0]
    assert executor_world.advantages(np.array(rewards), ALGORITHM) == pytest.approx(np.array(expected))


def test_more_samples_of_the_same_scheme_are_a_better_gradient():
    world = World.of("even", 4, 0)
    truth = executor_world.moments(world, FIXED, executor_world.table(FIXED, CODE, CONFIG, 0.3)).mean
    found = []
    for scheme in (LEAVE_ONE_OUT, replace(LEAVE_ONE_OUT, k=3)):
        rewards = executor_world.table(scheme, CODE, CONFIG, 0.3)
        found.append(executor_world.gradient(world, scheme, rewards, truth, ALGORITHM, 500, 0).given_traces)
    assert found[1] > 1.2 * found[0]


def test_dead_groups_save_samples_and_pay_less():
    world = World.of("hard", 4, 0)
    whole = replace(FIXED, e2e="leave_one_out")
    dead = replace(whole, first=2)
    rewards = executor_world.table(dead, MATH, CONFIG, 0.3)
    paid = [executor_world.moments(world, each, rewards).mean for each in (whole, dead)]
    assert (paid[1] <= paid[0]).all() and (paid[1] < paid[0] - 1e-3).any()
    drawn = executor_world.gradient(world, dead, rewards, paid[0], ALGORITHM, 100, 0).drawn
    assert 4 * dead.first + dead.baseline <= drawn < whole.drawn()
