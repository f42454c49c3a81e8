"""The four arms in both tasks: what they need, what they pay, and that a missing piece is never a number."""

import re
from dataclasses import dataclass, replace

import pytest

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.reward.arms import ARMS, ExecutionOnly, NoOptions, Requirements, RewardResult, requirements
from tracelift_ray.reward.compute import compute_reward, floor_components, floor_reward
from tracelift_ray.reward.forms import AnswerForm, ProgramForm
from tracelift_ray.types import Artifact, Baseline, Execution, RubricScore, Verdict

CONFIG = RewardConfig(
    arm="tracelift",
    num_samples=3,
    e2e="fresh",
    math_execution_weight=0.5,
    math_grounded_weight=0.5,
    code_grounded_weight=0.2,
    clip_max=None,
    tie_table={1: 0.5},
    execution_style="hybrid",
    baseline="per_group",
    baseline_samples=1,
    baseline_strength=2.0,
    cached_samples=16,
    baseline_cache="",
    malformed="floor",
    overlong="train",
    leak="report",
    options={},
)
MATH, CODE = AnswerForm(), ProgramForm()

#: Arms that need no constants beside these.
PLAIN = [name for name, arm in ARMS.items() if arm.Options is NoOptions]


def run(outcome="passed", passed=None, total=1) -> Execution:
    count = total if outcome == "passed" else 0
    return Execution(Artifact("x", "x"), Verdict(outcome, count if passed is None else passed, total))


def runs(passed: int, total: int) -> list[Execution]:
    return [run() for _ in range(passed)] + [run("wrong_answer") for _ in range(total - passed)]


def rubric(score: float) -> RubricScore:
    return RubricScore((4.0, 3.0, 3.0, 4.0, 2.0), total=score, score=score)


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({}, Requirements(3, True, 3, True)),
        ({"e2e": "mean"}, Requirements(3, False, 3, True)),
        ({"e2e": "leave_one_out"}, Requirements(4, False, 3, True)),
        ({"baseline": "cached"}, Requirements(3, True, 16, True)),
        ({"baseline": "pooled"}, Requirements(3, True, 1, True)),
        ({"arm": "uplift_only"}, Requirements(3, True, 3, False)),
        ({"arm": "uplift_only", "baseline": "cached", "e2e": "mean"}, Requirements(3, False, 16, False)),
        ({"arm": "exec_only"}, Requirements(0, True, 0, False)),
        ({"arm": "exec_only", "e2e": "mean"}, Requirements(3, False, 0, False)),
        ({"arm": "exec_only", "e2e": "leave_one_out"}, Requirements(0, True, 0, False)),
        ({"arm": "rm_only"}, Requirements(0, False, 0, True)),
        ({"arm": "rm_only", "e2e": "mean", "baseline": "cached"}, Requirements(0, False, 0, True)),
    ],
)
def test_each_arm_asks_for_exactly_what_it_uses(changes, required):
    assert requirements(replace(CONFIG, **changes)) == required
    assert required.samples == required.with_trace + required.fresh


def test_tracelift_math_is_execution_and_grounded_rubric():
    result = compute_reward(CONFIG, MATH, runs(2, 3), run(), Baseline(1, 3), rubric(0.9))
    assert result.reward == pytest.approx(0.5 * 1 + 0.5 * 0.9 * (1 / 3))
    assert result.uplift == pytest.approx(1 / 3)


def test_the_fresh_sample_is_apart_from_the_k():
    failed = compute_reward(CONFIG, MATH, runs(3, 3), run("wrong_answer"), Baseline(0, 3), rubric(1.0))
    assert failed == RewardResult(0.5, 1.0, {"execution": 0.0, "uplift": 1.0, "rubric": 1.0})


def test_e2e_mean_uses_the_k_and_no_other():
    config = replace(CONFIG, e2e="mean")
    result = compute_reward(config, MATH, runs(2, 3), None, Baseline(1, 3), rubric(0.9))
    assert result.reward == pytest.approx(0.5 * (2 / 3) + 0.5 * 0.9 * (1 / 3))
    assert compute_reward(config, MATH, runs(2, 3), run("wrong_answer"), Baseline(1, 3), rubric(0.9)) == result


def test_tracelift_code_moves_the_execution_reward_by_the_grounded_rubric():
    fresh = run("wrong_answer", passed=2, total=4)
    e = 0.8 * 0.5 + 0.2
    for base, c in ((1, 1.0), (2, 2 / 3), (3, -1.0)):
        result = compute_reward(CONFIG, CODE, runs(2, 3), fresh, Baseline(base, 3), rubric(0.5))
        assert result.reward == pytest.approx(e + 0.2 * 0.5 * c)
        assert result.uplift == pytest.approx((2 - base) / 3)


def test_code_with_e2e_mean_averages_the_execution_rewards():
    config = replace(CONFIG, e2e="mean")
    programs = [run("passed", total=4), run("runtime_error", passed=2, total=4), run("does_not_compile", total=4)]
    result = compute_reward(config, CODE, programs, None, Baseline(0, 3), rubric(1.0))
    assert result.reward == pytest.approx((1.0 + 0.45 + 0.0) / 3 + 0.2)


def test_clip_max_is_the_arms_ceiling():
    def reward(clip_max: float | None) -> float:
        config = replace(CONFIG, clip_max=clip_max)
        return compute_reward(config, CODE, runs(3, 3), run("passed", total=4), Baseline(0, 3), rubric(0.9)).reward

    assert reward(None) == pytest.approx(1.18)
    assert reward(1.0) == 1.0


def test_exec_only_is_the_execution_alone():
    config = replace(CONFIG, arm="exec_only")
    assert compute_reward(config, MATH, [], run(), None, None) == RewardResult(1.0, None, {"execution": 1.0})
    code = compute_reward(config, CODE, [], run("time_limit", passed=1, total=4), None, None)
    assert code.reward == pytest.approx(0.25) and code.uplift is None
    coderl = replace(config, execution_style="coderl")
    assert compute_reward(coderl, CODE, [], run("does_not_compile"), None, None).reward == -1.0


@pytest.mark.parametrize("form", [MATH, CODE], ids=["math", "code"])
def test_rm_only_is_the_rubric_alone(form):
    config = replace(CONFIG, arm="rm_only")
    assert compute_reward(config, form, [], None, None, rubric(0.37)) == RewardResult(0.37, None, {"rubric": 0.37})


@pytest.mark.parametrize("form", [MATH, CODE], ids=["math", "code"])
@pytest.mark.parametrize("successes", range(4))
def test_uplift_only_is_tracelift_with_a_perfect_rubric(form, successes):
    given, fresh, base = runs(successes, 3), run("wrong_answer"), Baseline(2, 3)
    bare = compute_reward(replace(CONFIG, arm="uplift_only"), form, given, fresh, base, None)
    full = compute_reward(CONFIG, form, given, fresh, base, rubric(1.0))
    assert (bare.reward, bare.uplift) == (full.reward, full.uplift)


def test_a_larger_cached_baseline_is_used_whole():
    config = replace(CONFIG, baseline="cached")
    result = compute_reward(config, MATH, runs(3, 3), run(), Baseline(5, 20), rubric(1.0))
    assert result.uplift == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("executions", "fresh", "baseline", "score", "message"),
    [
        (runs(2, 2), run(), Baseline(1, 3), 0.5, "needs 3 executions"),
        (runs(2, 3), None, Baseline(1, 3), 0.5, "fresh"),
        (runs(2, 3), run(), Baseline(1, 2), 0.5, "needs 3 baseline executions and was given 2"),
        (runs(2, 3), run(), None, 0.5, "needs 3 baseline executions and was given 0"),
        (runs(2, 3), run(), Baseline(1, 3), None, "reasoning RM's score and was given none"),
        (runs(2, 3), run(), Baseline(1, 3), float("nan"), "outside"),
        (runs(2, 3), run(), Baseline(1, 3), 1.5, "outside"),
    ],
)
def test_a_missing_piece_is_an_error_and_never_a_number(executions, fresh, baseline, score, message):
    with pytest.raises(ValueError, match=message):
        compute_reward(CONFIG, MATH, executions, fresh, baseline, None if score is None else rubric(score))


@pytest.mark.parametrize(
    ("changes", "math", "code"),
    [
        ({}, -0.5, 0.0),
        ({"math_grounded_weight": 0.25, "execution_style": "coderl"}, -0.25, 0.0),
        ({"arm": "uplift_only"}, -0.5, 0.0),
        ({"arm": "exec_only"}, 0.0, 0.0),
        ({"arm": "exec_only", "execution_style": "coderl"}, 0.0, -1.0),
        ({"arm": "rm_only"}, 0.0, 0.0),
    ],
)
def test_a_malformed_trace_gets_the_arms_lowest_reward(changes, math, code):
    config = replace(CONFIG, **changes)
    assert (floor_reward(config, MATH), floor_reward(config, CODE)) == (math, code)


@pytest.mark.parametrize("arm", PLAIN)
@pytest.mark.parametrize("style", ["binary", "pass_rate", "coderl", "hybrid"])
@pytest.mark.parametrize("form", [MATH, CODE], ids=["math", "code"])
def test_no_trace_gets_less_than_a_malformed_one_and_the_worst_gets_as_much(arm, style, form):
    config = replace(CONFIG, arm=arm, execution_style=style)
    outcomes = ["passed", "wrong_answer", "time_limit", "does_not_compile"]
    rewards = [
        compute_reward(config, form, [run(outcome)] * 3, run(outcome), Baseline(base, 3), rubric(q)).reward
        for outcome in outcomes
        for base in range(4)
        for q in (0.0, 0.5, 1.0)
    ]
    assert min(rewards) == pytest.approx(floor_reward(config, form))


@dataclass(frozen=True)
class _Curve:
    power: float


class _Curved(ExecutionOnly):
    """An arm with a constant of its own."""

    Options = _Curve

    def reward(self, measured, form, config):
        return RewardResult(super().reward(measured, form, config).reward ** self.options(config).power, None)


def test_an_arm_may_have_constants_of_its_own(monkeypatch):
    monkeypatch.setitem(ARMS, "curved", _Curved())
    config = replace(CONFIG, arm="curved", e2e="mean", options={"power": 2.0})
    assert compute_reward(config, MATH, runs(1, 3), None, None, None).reward == pytest.approx(1 / 9)
    with pytest.raises(ConfigError, match=r"reward.options.powr.*power"):
        ARMS["curved"].options(replace(config, options={"powr": 2.0}))
    with pytest.raises(ConfigError, match=r"reward.options.power"):
        ARMS["curved"].options(replace(config, options={}))
    with pytest.raises(ConfigError, match=r"reward.options=.*power.*must be empty: reward.arm=tracelift"):
        ARMS["tracelift"].options(replace(config, arm="tracelift"))


@pytest.mark.parametrize("name", PLAIN)
def test_an_arms_formula_holds_the_letters_that_it_names_and_q_only_with_a_rubric(name):
    arm, config = ARMS[name], replace(CONFIG, arm=name)
    for form in (MATH, CODE):
        words = set(re.findall(r"[a-z]+[0-9]?[a-z]*", arm.formula(form, config)))
        assert words >= set(arm.letters(form))
        assert ("q" in words) == arm.requirements(config).rubric


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_gives_the_components_that_it_declares_and_none_is_below_the_floor(arm):
    config = replace(CONFIG, arm=arm)
    names = ARMS[arm].components()
    for form in (MATH, CODE):
        result = compute_reward(config, form, runs(0, 3), run("wrong_answer"), Baseline(3, 3), rubric(0.0))
        assert tuple(result.components) == tuple(floor_components(config, form)) == names
        assert all(result.components[name] >= lowest for name, lowest in floor_components(config, form).items())
