"""One line of ``trajectories.jsonl``: everything that is known of one trace, from problem to advantage, for people.

Pure: a record is made of a group, one of its trajectories and the step that consumed it.
"""

from __future__ import annotations

from typing import Any

from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Baseline, Execution, Group, RubricScore, Trajectory

#: Statements and texts are cut here so that one monstrous problem does not fill the disk once per trace.
MAX_STATEMENT_CHARS = 2_000
MAX_TEXT_CHARS = 8_000


def cut(text: str, limit: int) -> str:
    """The text, or its first ``limit`` characters and how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} more characters]"


def _verdicts(executions: tuple[Execution, ...]) -> list[dict[str, Any]]:
    return [
        {
            "outcome": execution.verdict.outcome,
            "passed_tests": execution.verdict.passed_tests,
            "total_tests": execution.verdict.total_tests,
            "artifact": None
            if execution.artifact.content is None
            else cut(execution.artifact.content, MAX_STATEMENT_CHARS),
        }
        for execution in executions
    ]


def _rubric(group: Group, rubric: RubricScore | None) -> dict[str, Any] | None:
    if rubric is None:
        return None
    names = task_of(group.problem.task).dimensions if rubric.labels else ()
    labels = dict(zip(names, rubric.labels, strict=True))
    return {"labels": labels, "total": rubric.total, "score": rubric.score, "truncated": rubric.truncated}


def _baseline(baseline: Baseline | None) -> dict[str, Any]:
    known = (None, None, None) if baseline is None else (baseline.rate, baseline.successes, baseline.samples)
    return dict(zip(("baseline", "baseline_successes", "baseline_samples"), known, strict=True))


def trajectory_record(step: int, group: Group, trajectory: Trajectory, advantage: float | None) -> dict[str, Any]:
    """The record of one trajectory, ready for JSON.

    Args:
        step: the optimizer step whose batch held the group.
        advantage: what the learner was given; None where the trace was not trained on.

    Returns:
        A mapping with ``step`` first. ``verdicts`` are those of the samples with the trace and ``successes`` their
        0 and 1; ``fresh`` is the extra sample of ``e2e: fresh``; what the arm does not need is None or empty.
    """
    trace, problem = trajectory.trace, group.problem
    completion = trace.completion
    fresh = _verdicts((trajectory.fresh,))[0] if trajectory.fresh is not None else None
    return {
        "step": step,
        "group": group.serial,
        "index": trace.index,
        "problem": problem.id,
        "task": problem.task,
        "task_type": problem.task_type,
        "statement": cut(problem.statement, MAX_STATEMENT_CHARS),
        "text": cut(completion.text, MAX_TEXT_CHARS),
        "reasoning": None if trace.reasoning is None else cut(trace.reasoning, MAX_TEXT_CHARS),
        "malformed": trace.malformed,
        "finish_reason": completion.finish_reason,
        "tokens": len(completion.token_ids),
        "submitted_version": group.submitted_version,
        "oldest_version": completion.oldest_version,
        "newest_version": completion.newest_version,
        "successes": [e.verdict.success for e in trajectory.executions],
        "verdicts": _verdicts(trajectory.executions),
        "fresh": fresh,
        **_baseline(group.baseline),
        "uplift": trajectory.uplift,
        "rubric": _rubric(group, trajectory.rubric),
        "reward": trajectory.reward,
        "advantage": advantage,
        "masked": trajectory.masked,
        "leaked": trajectory.leaked,
    }
