"""The execution reward: one verdict on a program becomes one number, in one of four styles.

The verdict's outcome is that of the first failing test, so it alone says how the program failed; memory and output
limits count as runtime errors. An artifact that holds no program scores like one that does not compile.
"""

from __future__ import annotations

from typing import Literal, get_args

from tracelift_ray.types import Outcome, Verdict

ExecutionStyle = Literal["binary", "pass_rate", "coderl", "hybrid"]
_Ending = Literal["passed", "failed", "crashed", "not_run"]

#: How a program ended, as far as the reward tells endings apart.
_ENDINGS: dict[Outcome, _Ending] = {
    "passed": "passed",
    "wrong_answer": "failed",
    "runtime_error": "crashed",
    "time_limit": "crashed",
    "memory_limit": "crashed",
    "output_limit": "crashed",
    "does_not_compile": "not_run",
    "no_artifact": "not_run",
}
#: CodeRL (Le et al. 2022, equation 3).
_CODERL: dict[_Ending, float] = {"passed": 1.0, "failed": -0.3, "crashed": -0.6, "not_run": -1.0}
_HYBRID_PASS_WEIGHT = 0.8
_HYBRID_BONUS: dict[_Ending, float] = {"passed": 0.2, "failed": 0.2, "crashed": 0.05, "not_run": 0.0}


def execution_reward(verdict: Verdict, style: str) -> float:
    """The reward of one verdict.

    Args:
        verdict: with at least one test; ``passed_tests`` of ``total_tests`` passed.
        style: ``binary`` (0 or 1), ``pass_rate`` (in [0, 1]), ``coderl`` (+1 passed, -0.3 a test failed, -0.6 runtime
            error or a limit, -1 does not compile) or ``hybrid`` (0.8 · pass rate + 0.2 when the program ran to its end,
            0.05 when it crashed or met a limit, 0 when it does not compile; in [0, 1]).

    Raises:
        ValueError: unknown style, or a verdict whose counts make no pass rate.
    """
    if verdict.total_tests < 1 or not 0 <= verdict.passed_tests <= verdict.total_tests:
        raise ValueError(
            f"verdict counts {verdict.passed_tests} of {verdict.total_tests} tests passed: no pass rate; "
            "problems without tests are refused at load"
        )
    ending = _ENDINGS[verdict.outcome]
    pass_rate = verdict.passed_tests / verdict.total_tests
    if style == "binary":
        return float(verdict.success)
    if style == "pass_rate":
        return pass_rate
    if style == "coderl":
        return _CODERL[ending]
    if style == "hybrid":
        return _HYBRID_PASS_WEIGHT * pass_rate + _HYBRID_BONUS[ending]
    raise ValueError(f"reward.execution_style={style!r}: one of {', '.join(get_args(ExecutionStyle))}")


def lowest_execution_reward(style: str) -> float:
    """The lowest reward that a program can get: -1 under ``coderl``, else 0."""
    return min(execution_reward(Verdict(outcome), style) for outcome in _ENDINGS)


def counts_tests(style: str) -> bool:
    """Whether the reward of a failing program depends on how many tests it passes, so that all have to be run."""
    return style in ("pass_rate", "hybrid")
