"""Samples in two rounds and one by one: what is paid and drawn is what enumeration and plain sampling say."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import executor_world
from benchmarks.executor_draws import RULES, until_decided
from benchmarks.executor_lengths import Lengths, tokens
from benchmarks.executor_tokens import settings
from benchmarks.executor_world import FIXED, GROUP, KINDS, SCORES, Scheme, World
from tests.unit.reward.test_compute import CODE, CONFIG, MATH

ALGORITHM = settings().algorithm
TWO_ROUNDS = Scheme("", "leave_one_out", 3, 3, first=2)
FORMS = pytest.mark.parametrize("form", [MATH, CODE], ids=["math", "code"])


def mean(world, scheme, form):
    return executor_world.moments(world, scheme, executor_world.table(scheme, form, CONFIG, 0.3)).mean


def alike(p: float, q: int, without: float) -> World:
    """One problem whose traces are all alike."""
    return World(np.full((1, KINDS), p), np.full((1, KINDS), q), np.full((1, KINDS), 1 / KINDS), np.array([without]))


def test_a_third_sample_where_two_disagree_is_biased_as_the_page_says():
    p, q, without = 0.2, 14, 0.4
    found = mean(alike(p, q, without), replace(TWO_ROUNDS, k=2, rule="disagree"), MATH)[0, 0]
    rate = p + p * (1 - p) * (2 * p - 1) / 3
    assert found == pytest.approx(0.5 * rate + 0.5 * SCORES[q] * (rate - without), abs=1e-12)


@FORMS
@pytest.mark.parametrize("rule", RULES)
def test_what_is_paid_without_bias_is_worth_what_the_first_round_is(form, rule):
    world = World.of("hard", 3, 0)
    once = replace(TWO_ROUNDS, k=1, first=0)
    assert mean(world, replace(TWO_ROUNDS, rule=rule, unbiased=True), form) == pytest.approx(mean(world, once, form))


def test_a_rule_that_looks_at_the_others_alone_has_no_bias_in_math_and_one_that_looks_at_the_trace_has():
    world = World.of("hard", 3, 0)
    whole = mean(world, replace(TWO_ROUNDS, first=0), MATH)
    assert mean(world, replace(TWO_ROUNDS, rule="others dead"), MATH) == pytest.approx(whole)
    assert np.abs(mean(world, replace(TWO_ROUNDS, rule="open"), MATH) - whole).max() > 1e-3


def test_the_moments_of_two_rounds_are_those_of_groups_drawn_one_by_one():
    p, q, without, groups = 0.3, 14, 0.4, 100_000
    scheme, rng = replace(TWO_ROUNDS, rule="open"), np.random.default_rng(0)
    first, more = rng.binomial(2, p, (2, groups, GROUP))
    on = (first[:, :, None] == first[:, None, :]).sum(axis=2) > 1
    rate = np.where(on, (first + more) / 4, first / 2)
    base = rng.binomial(3, without, (groups, 1)) / 3
    rewards = 0.5 * rate + 0.5 * SCORES[q] * (rate - base)
    found = executor_world.moments(alike(p, q, without), scheme, executor_world.table(scheme, MATH, CONFIG, 0.3))
    assert found.mean[0, 0] == pytest.approx(rewards.mean(), abs=0.004)
    assert found.variance[0, 0] == pytest.approx(rewards.var(), rel=0.02)
    kinds, rewards = np.zeros((20_000, GROUP), dtype=int), executor_world.table(scheme, MATH, CONFIG, 0.3)
    _, drawn = executor_world._executed(alike(p, q, without), scheme, rewards, 0, kinds, ALGORITHM, rng)
    assert drawn == pytest.approx(3 + 4 * (2 + 2 * on.mean()), rel=0.005)


def test_samples_end_once_the_others_can_change_nothing():
    p = np.array([0.0, 0.3, 1.0])
    by_successes = np.array([0.0, 1.0, 1.0, 1.0])  # the direction against a baseline of 0: one success decides it
    values = np.broadcast_to(by_successes[:, None], (3, 4, 1))
    assert until_decided(values, p) == pytest.approx(1 + (1 - p) + (1 - p) ** 2)
    assert until_decided(np.ones((3, 4, 1)), p) == pytest.approx(0.0)
    both = np.stack(np.broadcast_arrays(by_successes, by_successes[::-1]), axis=1)  # two traces: the last one decides
    assert until_decided(np.broadcast_to(both, (3, 4, 2)), p)[[0, 2]] == pytest.approx(3.0)


@pytest.mark.parametrize(("scheme", "stops"), [(FIXED, "trace"), (TWO_ROUNDS, "baseline")])
def test_ending_what_is_decided_changes_no_gradient_and_saves_samples_in_code_alone(scheme, stops):
    world = World.of("even", 3, 0)
    world = replace(world, q=np.maximum(world.q, 1))
    scheme = replace(scheme, first=0)
    for form, saves in ((CODE, True), (MATH, False)):
        rewards = executor_world.table(scheme, form, CONFIG, 0.3)
        truth = executor_world.moments(world, scheme, rewards).mean
        whole, ended = (
            executor_world.gradient(world, each, rewards, truth, ALGORITHM, 200, 0)
            for each in (scheme, replace(scheme, stops=stops))
        )
        assert (ended.given_traces, ended.whole) == (whole.given_traces, whole.whole)
        assert (ended.drawn < whole.drawn - 0.1) if saves else ended.drawn == pytest.approx(whole.drawn)


def test_a_prompt_counts_once_for_each_request_and_once_with_a_prefix_cache():
    lengths = Lengths(prompt=50, problem=20, alone=25, other=5, sample=10, sample_alone=8)
    fixed = tokens(FIXED, lengths, 19)
    assert (fixed.written, fixed.all, fixed.cached) == (184, 184 + 4 * 50 + 25, 184 + 20 + 4 * 30 + 5)
    released = tokens(replace(FIXED, own_baseline=True), lengths, 28)
    assert released.all - released.written == 16 * 50 + 12 * 25
    again = tokens(TWO_ROUNDS, lengths, 15)  # two of the four traces go on, with a second request each
    assert again.all - again.written == 6 * 50 + 25 and again.cached - again.written == 20 + 4 * 30 + 5
    full = tokens(Scheme("", "leave_one_out", 1, 0, known=16, prior=2.0), lengths, 8)
    assert full.all - full.written == 4 * 50
