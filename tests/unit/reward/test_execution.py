"""The four execution reward styles, to the last constant."""

import pytest

from tracelift_ray.reward.execution import execution_reward
from tracelift_ray.types import Outcome, Verdict


def verdict(outcome: Outcome, passed: int, total: int = 4) -> Verdict:
    return Verdict(outcome, passed, total)


PASSED = verdict("passed", 4)
FAILED = verdict("wrong_answer", 3)
CRASHES = ("runtime_error", "time_limit", "memory_limit", "output_limit")


def test_binary_pays_only_for_all_tests():
    assert execution_reward(PASSED, "binary") == 1.0
    assert execution_reward(FAILED, "binary") == 0.0


def test_pass_rate_is_the_share_of_tests():
    assert execution_reward(PASSED, "pass_rate") == 1.0
    assert execution_reward(FAILED, "pass_rate") == 0.75
    assert execution_reward(verdict("does_not_compile", 0), "pass_rate") == 0.0


def test_coderl_has_four_values():
    assert execution_reward(PASSED, "coderl") == 1.0
    assert execution_reward(FAILED, "coderl") == -0.3
    assert execution_reward(verdict("runtime_error", 2), "coderl") == -0.6
    assert execution_reward(verdict("does_not_compile", 0), "coderl") == -1.0


def test_hybrid_is_pass_rate_and_a_bonus_for_running_to_the_end():
    assert execution_reward(PASSED, "hybrid") == pytest.approx(1.0)
    assert execution_reward(FAILED, "hybrid") == pytest.approx(0.8 * 0.75 + 0.2)
    assert execution_reward(verdict("wrong_answer", 0), "hybrid") == pytest.approx(0.2)
    assert execution_reward(verdict("does_not_compile", 0), "hybrid") == 0.0


@pytest.mark.parametrize("outcome", CRASHES)
def test_every_limit_counts_as_a_runtime_error(outcome):
    assert execution_reward(verdict(outcome, 1), "coderl") == -0.6
    assert execution_reward(verdict(outcome, 1), "hybrid") == pytest.approx(0.8 * 0.25 + 0.05)


def test_the_first_failing_test_decides_not_how_many_pass():
    """Of two programs that pass 2 of 4, the one whose first failure is a crash earns the crash's bonus."""
    assert execution_reward(verdict("wrong_answer", 2), "hybrid") == pytest.approx(0.6)
    assert execution_reward(verdict("runtime_error", 2), "hybrid") == pytest.approx(0.45)


def test_no_program_at_all_scores_like_one_that_does_not_compile():
    for style in ("binary", "pass_rate", "coderl", "hybrid"):
        assert execution_reward(verdict("no_artifact", 0), style) == execution_reward(
            verdict("does_not_compile", 0), style
        )


@pytest.mark.parametrize("style", ["binary", "pass_rate", "hybrid"])
def test_more_passed_tests_never_earn_less(style):
    for total in range(1, 9):
        rewards = [execution_reward(verdict("wrong_answer", n, total), style) for n in range(total)]
        rewards.append(execution_reward(verdict("passed", total, total), style))
        assert rewards == sorted(rewards)
        assert rewards[0] >= 0.0 and rewards[-1] == pytest.approx(1.0)


def test_impossible_counts_and_styles_are_refused():
    with pytest.raises(ValueError, match="no pass rate"):
        execution_reward(verdict("passed", 0, 0), "hybrid")
    with pytest.raises(ValueError, match="5 of 4"):
        execution_reward(verdict("wrong_answer", 5), "pass_rate")
    with pytest.raises(ValueError, match=r"execution_style='hybird'.*hybrid"):
        execution_reward(PASSED, "hybird")
