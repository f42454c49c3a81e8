"""The tasks that there are, by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Iterable

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.base import Task
from tracelift_ray.tasks.choice import ChoiceTask
from tracelift_ray.tasks.code import CodeTask
from tracelift_ray.tasks.gym import GymTask
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.tasks.thinking import answer_in
from tracelift_ray.types import Artifact, Completion, Problem, Prompt

TASKS: dict[str, Task] = {task.name: task for task in (MathTask(), CodeTask(), ChoiceTask(), GymTask())}


def task_of(name: str) -> Task:
    """The task called ``name``. Raises DataError where there is none."""
    task = TASKS.get(name)
    if task is None:
        raise DataError(f"task {name!r}: there is no such task; there are {', '.join(TASKS)}")
    return task


def read_artifact(problem: Problem, prompt: Prompt, completion: Completion) -> Artifact:
    """The artifact in an executor's completion of ``prompt``; its content is None where there is none."""
    content = task_of(problem.task).read_artifact(problem, answer_in(prompt, completion.text))
    return Artifact(content, completion.text)


def chance_level(problems: Iterable[Problem]) -> float | None:
    """The mean success rate of a guess at these problems; None where a guess solves none of them."""
    chances = [task_of(problem.task).chance(problem) for problem in problems]
    return sum(chances) / len(chances) if any(chances) else None


def extraction_versions() -> str:
    """The versions of all rules that read artifacts, as one text that changes with any of them."""
    return " ".join(sorted({task.extraction_version for task in TASKS.values()}))
