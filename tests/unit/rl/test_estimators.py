"""Every registered estimator against a formula written apart from it in float64 NumPy, and what holds for all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learner_configs import algorithm
from tests.unit.rl.batches import Rewards, advantages, scored_batch
from tests.unit.rl.estimator_formulas import FORMULAS, PARTS, WEIGHTS, Batch
from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.advantages import ESTIMATORS


def batch(seed: int, sizes: tuple[int, ...] = (5, 4, 6)) -> Batch:
    rng = np.random.default_rng(seed)
    return [
        Rewards(
            tuple(rng.choice([0.0, 1.0, rng.uniform(-0.5, 1.2)], size)),
            tuple(int(n) for n in rng.integers(1, 9, size)),
            {name: tuple(rng.uniform(-1, 1, size)) for name in PARTS},
        )
        for size in sizes
    ]


def config(name: str, std: str = "population", **changes: Any) -> AlgorithmConfig:
    values = {"advantage_eps": 1e-4, "min_std": 0.0, "std_floor": 0.0, "best_of": 3, "component_weights": WEIGHTS}
    return algorithm(advantage=name, advantage_std=std, **(values | changes))


#: Estimators whose advantages sum to zero: over a group, or only over the batch.
SUM_OF_A_GROUP = ("grpo", "rloo", "reinforce_pp_baseline", "gdpo", "best_of")
SUM_OF_A_BATCH = (*SUM_OF_A_GROUP, "reinforce_pp")


def test_every_estimator_has_its_formula_here() -> None:
    assert FORMULAS.keys() == ESTIMATORS.keys()


@pytest.mark.parametrize("std", ["population", "sample", "none"])
@pytest.mark.parametrize("name", FORMULAS)
def test_an_estimator_is_its_formula(name: str, std: str) -> None:
    for seed in range(5):
        groups = batch(seed)
        expected = FORMULAS[name](groups, config(name, std))
        for here, there in zip(advantages(groups, config(name, std)), expected, strict=True):
            assert here == pytest.approx(there, abs=1e-10)


@pytest.mark.parametrize(("positive", "negative", "k"), [(1, 7, 4), (3, 5, 4), (4, 4, 2), (2, 6, 1)])
def test_best_of_with_right_and_wrong_traces_is_the_papers_closed_form(positive: int, negative: int, k: int) -> None:
    count = positive + negative
    mean = 1 - math.comb(negative, k) / math.comb(count, k)
    std = math.sqrt(mean * (1 - mean))
    wrong = 1 - math.comb(negative - 1, k - 1) / math.comb(count - 1, k - 1)
    group = Rewards((1.0,) * positive + (0.0,) * negative, (3,) * count)
    (found,) = advantages([group], config("best_of", best_of=k, advantage_eps=0.0))
    expected = [(1 - mean) / std] * positive + [(wrong - mean) / std] * negative
    assert found == pytest.approx(expected, abs=1e-10)


def test_best_of_one_is_grpo() -> None:
    groups = batch(3)
    for here, there in zip(
        advantages(groups, config("best_of", best_of=1)), advantages(groups, config("grpo")), strict=True
    ):
        assert here == pytest.approx(there, abs=1e-12)


def test_where_every_set_holds_a_best_trace_best_of_has_no_signal() -> None:
    (one,) = scored_batch([Rewards((0.0, 0.1, 0.1, 0.1), (2,) * 4)], config("best_of", best_of=2, advantage_eps=0.0))
    assert not one.has_signal and set(one.advantages) == {0.0}


def test_gdpo_sees_what_the_reward_hides() -> None:
    """Two traces of the same reward, one for its rubric score and one for its uplift."""
    parts = {"uplift": (1.0, 0.0, 0.0, 0.0), "rubric": (0.0, 0.0, 1.0, 1.0)}
    same = Rewards((0.5,) * 4, (3,) * 4, parts)
    (plain,) = scored_batch([same], config("grpo"))
    (own,) = scored_batch([same], config("gdpo"))
    assert not plain.has_signal and own.has_signal
    (alone,) = advantages([same], config("gdpo", component_weights={"uplift": 0.0, "rubric": 1.0}))
    assert alone == pytest.approx(np.array([-1, -1, 1, 1]), rel=1e-3)


def test_a_group_without_signal_counts_in_the_batch_and_stays_at_zero() -> None:
    moved, equal = Rewards((0.0, 1.0), (3, 3)), Rewards((0.7, 0.7), (3, 3))
    first, second = scored_batch([moved, equal], config("reinforce_pp_baseline", advantage_eps=0.0))
    assert (second.has_signal, second.advantages) == (False, (0.0, 0.0))
    assert first.advantages == pytest.approx((-math.sqrt(2), math.sqrt(2)))  # the spread of -1/2, 1/2, 0, 0


def test_reinforce_pp_compares_groups_and_single_traces() -> None:
    good, poor = Rewards((1.0, 1.0), (3, 3)), Rewards((0.0,), (3,))
    first, second = scored_batch([good, poor], config("reinforce_pp"))
    assert first.has_signal and second.has_signal
    assert min(first.advantages) > 0 > max(second.advantages)  # type: ignore[type-var]
    assert not any(each.has_signal for each in scored_batch([good, good], config("reinforce_pp")))


def test_long_completions_are_paid_less_over_the_last_part_of_the_limit() -> None:
    """DAPO's table: nothing before the buffer, in proportion inside it, all of it from the limit on."""
    group = Rewards((1.0,) * 4, (80, 90, 100, 120))
    shaped = config("reward", overlong_penalty=1.0, overlong_buffer=0.2, length_limit=100)
    assert advantages([group], shaped)[0] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert advantages([group], config("reward"))[0] == pytest.approx([1.0] * 4)


def test_the_penalty_of_long_completions_is_a_component_too() -> None:
    group = Rewards((1.0,) * 2, (80, 100), {"uplift": (0.3, 0.3)})
    shaped = config("gdpo", overlong_penalty=1.0, overlong_buffer=0.2, length_limit=100, component_weights={})
    (found,) = advantages([group], shaped)
    assert found[0] > 0 > found[1]


@st.composite
def batches(draw: Any) -> Batch:
    """Some groups of few traces, with equal rewards, single traces and masked ones among them."""
    number = st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(-1, 1.5, allow_subnormal=False))
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 6))
        several = st.lists(number, min_size=size, max_size=size).map(tuple)
        equal = number.map(lambda value, size=size: (value,) * size)
        masked = draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
        lengths = tuple(draw(st.lists(st.integers(1, 9), min_size=size, max_size=size)))
        parts = {name: draw(st.one_of(several, equal)) for name in PARTS}
        groups.append(Rewards(draw(st.one_of(several, equal)), lengths, parts, frozenset(masked)))
    return groups


@settings(max_examples=50, deadline=None)
@given(groups=batches(), std=st.sampled_from(["population", "sample", "none"]), random=st.randoms())
def test_advantages_depend_on_no_order_and_are_finite(groups: Batch, std: str, random: Any) -> None:
    for name in ESTIMATORS:
        check_invariants(name, groups, std, random)


def check_invariants(name: str, groups: Batch, std: str, random: Any) -> None:
    setting = config(name, std, min_std=1e-6, std_floor=0.03, best_of=2)
    found = scored_batch(groups, setting)
    for group, scored in zip(groups, found, strict=True):
        assert [a is None for a in scored.advantages] == [i in group.masked for i in range(len(group.rewards))]
        values = np.array([a for a in scored.advantages if a is not None])
        assert np.isfinite(values).all()
        if name in SUM_OF_A_GROUP:
            assert values.sum() == pytest.approx(0.0, abs=1e-7)
    if name in SUM_OF_A_BATCH:
        every = [a for scored in found for a in scored.advantages if a is not None]
        assert math.fsum(every) == pytest.approx(0.0, abs=1e-7)
    orders = [random.sample(range(len(group.rewards)), len(group.rewards)) for group in groups]
    places = random.sample(range(len(groups)), len(groups))
    moved = scored_batch([groups[place].reordered(orders[place]) for place in places], setting)
    for place, scored in zip(places, moved, strict=True):
        assert scored.has_signal == found[place].has_signal
        expected = [found[place].advantages[index] for index in orders[place]]
        assert scored.advantages == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_rewards_have_no_signal_where_the_traces_of_a_group_are_compared(name: str) -> None:
    for rewards in ((0.1,) * 7, (0.50, 0.52)):
        group = Rewards(rewards, (5,) * len(rewards), dict.fromkeys(PARTS, rewards))
        (scored,) = scored_batch([group], config(name, min_std=0.05, best_of=1))
        assert scored.has_signal == (name == "reward")
        if name != "reward":
            assert set(scored.advantages) == {0.0}
