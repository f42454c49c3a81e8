"""The ways to split the samples of a trace: leave_one_out has the expectation of fresh and no larger variance."""

import itertools
from dataclasses import replace

import pytest

from tests.unit.reward.test_compute import CODE, CONFIG, MATH, rubric, run, runs
from tracelift_ray.reward.arms import requirements
from tracelift_ray.reward.compute import compute_reward
from tracelift_ray.reward.turns import E2E
from tracelift_ray.types import Baseline

#: What a sample with the trace can be: passed, half of its tests, nothing that runs.
KINDS = (run("passed", total=4), run("wrong_answer", passed=2, total=4), run("does_not_compile", total=4))


def moments(config, form, chances, base_rate, q) -> tuple[float, float]:
    """Mean and variance of a reward over everything that can be drawn."""
    required = requirements(config)
    mean = square = 0.0
    for drawn in itertools.product(range(len(KINDS)), repeat=required.samples):
        samples = [KINDS[kind] for kind in drawn]
        fresh = samples[-1] if required.fresh else None
        for passed in itertools.product((0, 1), repeat=required.baseline):
            chance = 1.0
            for kind in drawn:
                chance *= chances[kind]
            for each in passed:
                chance *= base_rate if each else 1 - base_rate
            baseline = Baseline(sum(passed), required.baseline)
            given = samples[: required.with_trace]
            reward = compute_reward(config, form, given, fresh, baseline, rubric(q)).reward
            mean += chance * reward
            square += chance * reward**2
    return mean, square - mean**2


@pytest.mark.parametrize("form", [MATH, CODE], ids=["math", "code"])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("clip_max", [None, 1.0])
@pytest.mark.parametrize(("chances", "base_rate"), [((0.5, 0.3, 0.2), 0.4), ((0.9, 0.0, 0.1), 0.8)])
def test_leave_one_out_has_the_expectation_of_fresh_and_no_larger_variance(form, k, clip_max, chances, base_rate):
    config = replace(CONFIG, num_samples=k, clip_max=clip_max, tie_table={1: 0.5} if k == 3 else {})
    mean, variance = moments(config, form, chances, base_rate, 0.7)
    turned_mean, turned_variance = moments(replace(config, e2e="leave_one_out"), form, chances, base_rate, 0.7)
    assert turned_mean == pytest.approx(mean, abs=1e-12)
    assert turned_variance < variance


def test_leave_one_out_is_the_mean_of_what_fresh_pays_when_each_sample_is_the_fresh_one():
    samples = [*KINDS, run("passed", total=4)]
    turned = compute_reward(replace(CONFIG, e2e="leave_one_out"), CODE, samples, None, Baseline(1, 3), rubric(0.6))
    each = [
        compute_reward(CONFIG, CODE, samples[:i] + samples[i + 1 :], fresh, Baseline(1, 3), rubric(0.6)).reward
        for i, fresh in enumerate(samples)
    ]
    assert turned.reward == pytest.approx(sum(each) / 4)
    assert turned.uplift == pytest.approx(2 / 4 - 1 / 3)


def test_for_math_leave_one_out_is_the_mean_of_all_samples():
    mean = replace(CONFIG, e2e="mean", num_samples=4)
    given, baseline, q = runs(3, 4), Baseline(2, 4), rubric(0.6)
    turned = compute_reward(replace(CONFIG, e2e="leave_one_out"), MATH, given, None, baseline, q)
    assert turned.reward == pytest.approx(compute_reward(mean, MATH, given, None, baseline, q).reward)


@pytest.mark.parametrize("name", E2E)
def test_no_sample_is_lost_and_parts_that_are_apart_share_none(name):
    required = requirements(replace(CONFIG, e2e=name))
    samples = [run() for _ in range(required.samples)]
    fresh = samples[-1] if required.fresh else None
    turns = E2E[name].turns(samples[: required.with_trace], fresh)
    assert {id(each) for paid, _ in turns for each in paid} >= {id(samples[-1])}
    assert all(len(compared) == CONFIG.num_samples for _, compared in turns)
    shared = [{id(each) for each in paid} & {id(each) for each in compared} for paid, compared in turns]
    assert any(shared) != E2E[name].apart
