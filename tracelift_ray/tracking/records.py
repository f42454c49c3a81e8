"""One line of ``trajectories.jsonl``: everything that is known of one trace, from problem to advantage, for people.

Pure: a record is made of a group, one of its trajectories and the step that consumed it.
"""

from __future__ import annotations

from typing import Any

from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Execution, Group, RubricScore, Trajectory

#: Statements and texts are cut here so that one monstrous problem does not fill the disk once per trace.
MAX_STATEMENT_CHARS = 2_000
MAX_TEXT_CHARS = 8_000


def cut(text: str, limit: int) -> str:
    """The text, or its first ``limit`` characters and how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} more characters]"


def _verdict(execution: Execution) -> dict[str, Any]:
    verdict, artifact = execution.verdict, execution.artifact.content
    return {
        "outcome": verdict.outcome,
        "passed_tests": verdict.passed_tests,
        "total_tests": verdict.total_tests,
        "artifact": None if artifact is None else cut(artifact, MAX_STATEMENT_CHARS),
    }


def _without_trace(group: Group, trajectory: Trajectory) -> list[dict[str, Any]]:
    """The samples of the baseline, with the first trace of a group alone: all of its traces share them."""
    if group.baseline is None or trajectory.trace.index != group.trajectories[0].trace.index:
        return []
    return [_verdict(execution) for execution in group.baseline.executions]


def _rubric(group: Group, rubric: RubricScore | None) -> dict[str, Any] | None:
    if rubric is None:
        return None
    names = task_of(group.problem.task).dimensions if rubric.labels else ()
    labels = dict(zip(names, rubric.labels, strict=True))
    return {"labels": labels, "total": rubric.total, "score": rubric.score, "truncated": rubric.truncated}


def trajectory_record(step: int, group: Group, trajectory: Trajectory, advantage: float | None) -> dict[str, Any]:
    """The record of one trajectory, ready for JSON.

    Args:
        step: the optimizer step whose batch held the group.
        advantage: what the learner was given; None where the trace was not trained on.

    Returns:
        A mapping with ``step`` first. ``verdicts`` are those of the samples with the trace and ``successes`` their
        0 and 1; ``fresh`` is the extra sample of ``e2e: fresh``; ``baseline_verdicts`` are those of the samples without
        a trace that were drawn for the group. What the arm does not need is None or empty.
    """
    trace, problem, baseline = trajectory.trace, group.problem, group.baseline
    completion = trace.completion
    return {
        "step": step,
        "group": group.serial,
        "index": trace.index,
        "problem": problem.id,
        "task": problem.task,
        "task_type": problem.task_type,
        "statement": cut(problem.statement, MAX_STATEMENT_CHARS),
        "prompt": cut(trace.prompt, MAX_TEXT_CHARS),
        "text": cut(completion.text, MAX_TEXT_CHARS),
        "reasoning": None if trace.reasoning is None else cut(trace.reasoning, MAX_TEXT_CHARS),
        "malformed": trace.malformed,
        "finish_reason": completion.finish_reason,
        "tokens": len(completion.token_ids),
        "submitted_version": group.submitted_version,
        "oldest_version": completion.oldest_version,
        "newest_version": completion.newest_version,
        "successes": [e.verdict.success for e in trajectory.executions],
        "verdicts": [_verdict(execution) for execution in trajectory.executions],
        "fresh": None if trajectory.fresh is None else _verdict(trajectory.fresh),
        "baseline": None if baseline is None else baseline.rate,
        "baseline_successes": None if baseline is None else baseline.successes,
        "baseline_samples": None if baseline is None else baseline.samples,
        "baseline_verdicts": _without_trace(group, trajectory),
        "uplift": trajectory.uplift,
        "rubric": _rubric(group, trajectory.rubric),
        "reward": trajectory.reward,
        "advantage": advantage,
        "masked": trajectory.masked,
        "leaked": trajectory.leaked,
    }
