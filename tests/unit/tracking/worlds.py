"""Small hand-made groups for the tests of tracking."""

from __future__ import annotations

from tracelift_ray.types import (
    Artifact,
    Baseline,
    Completion,
    Execution,
    Group,
    Malformed,
    Outcome,
    Problem,
    RubricScore,
    ScoredGroup,
    Trace,
    Trajectory,
    Verdict,
)


def executed(*outcomes: Outcome) -> tuple[Execution, ...]:
    return tuple(Execution(Artifact("7", "#### 7"), Verdict(outcome, int(outcome == "passed"))) for outcome in outcomes)


def trajectory(
    index: int = 0,
    *,
    outcomes: tuple[Outcome, ...] = (),
    fresh: Outcome | None = None,
    rubric: float | None = None,
    uplift: float | None = None,
    reward: float | None = None,
    masked: str | None = None,
    malformed: Malformed | None = None,
    leaked: bool = False,
    version: int = 0,
    reasoning: str = "3 + 4 is the sum",
) -> Trajectory:
    completion = Completion((5, 6, 7), reasoning, "stop", (-0.1, -0.2, -0.3), version, version)
    return Trajectory(
        Trace("p", index, (1, 2), completion, None if malformed else reasoning, malformed),
        executed(*outcomes),
        executed(fresh)[0] if fresh is not None else None,
        RubricScore((4.0, 3.0, 2.0, 1.0, 0.0), 0.4, rubric) if rubric is not None else None,
        uplift,
        reward,
        masked,
        leaked,
    )


def group(
    *trajectories: Trajectory,
    serial: int = 0,
    task: str = "math",
    baseline: Baseline | None = None,
    statement: str = "What is 3 + 4?",
) -> Group:
    return Group(serial, Problem("p", task, statement, answer="7"), 0, trajectories, baseline)


def scored(one: Group, *, has_signal: bool = False) -> ScoredGroup:
    """``one`` as the scheduler hands it on; its advantages do not matter to metrics."""
    return ScoredGroup(one, tuple(0.0 for _ in one.trajectories), has_signal)
