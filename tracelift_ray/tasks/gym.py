"""Puzzles of reasoning-gym: the artifact is an answer as text, which the generator's own scorer checks.

A problem keeps the generator's record (``Problem.entry``), since there may be many right answers to one question. The
executor is asked for its answer between ``<answer>`` and ``</answer>``, as the library's own models are; it may have
several lines.

A generator whose scorer evaluates an answer as an expression is not offered: an answer is untrusted text, and Python
evaluated outside the sandbox is untrusted code.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from typing import Any, ClassVar

from tracelift_ray.errors import DataError
from tracelift_ray.records import Record, RecordError, mapping, required_text
from tracelift_ray.reward.forms import AnswerForm
from tracelift_ray.tasks.answers import read_answer
from tracelift_ray.tasks.base import Format, Reference, Task, Tools, own_id
from tracelift_ray.tasks.leaks import mask_answer, states_answer
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.types import Artifact, Problem, Verdict

GYM = "gym"
INSTALL = "pip install reasoning-gym==0.1.25"
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify|parse_latex)\s*\(")


def obstacle(generator: str) -> str:
    """Why answers to the problems of a generator are not scored; empty where they are.

    Raises:
        DataError: reasoning-gym is not installed.
    """
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise DataError(f"reasoning-gym is not installed; {INSTALL}") from None
    if generator not in DATASETS:
        return f"reasoning-gym has no generator {generator}; it has {', '.join(sorted(DATASETS))}"
    if _evaluates(DATASETS[generator][0]):
        return "its scorer evaluates answers as code, which is not done outside the sandbox"
    return ""


@functools.cache
def _evaluates(generator: type) -> bool:
    return bool(_EVALUATES.search(inspect.getsource(inspect.getmodule(generator) or generator)))


def gym_entry(problem: Problem) -> dict[str, Any]:
    """The generator's record. Raises ValueError where a problem has none."""
    if not problem.entry:
        raise ValueError(f"problem {problem.id}: a problem of task gym needs its generator's record")
    found: dict[str, Any] = json.loads(problem.entry)
    return found


def gym_problem(record: Record) -> Problem:
    """A record of reasoning-gym: ``question``, ``answer`` and ``metadata`` with ``source_dataset``, the generator.

    Raises:
        RecordError: a field is missing, or answers to it are not scored.
        DataError: reasoning-gym is not installed.
    """
    question, answer = required_text(record, "question"), required_text(record, "answer")
    generator = required_text(mapping(record.get("metadata"), "metadata"), "source_dataset", where="metadata.")
    if reason := obstacle(generator):
        raise RecordError("not_scored", "metadata.source_dataset", reason, generator)
    try:
        entry = json.dumps({name: record[name] for name in ("question", "answer", "metadata")}, sort_keys=True)
    except TypeError as error:
        raise RecordError("wrong_type", "metadata", f"must be plain JSON ({error})") from None
    id = own_id(record, f"gym-{generator}", question, answer)
    return Problem(id=id, task=GYM, statement=question, task_type=generator, answer=answer, entry=entry)


class GymTask(Task):
    """Questions that a generator made and can score answers to."""

    name = GYM
    dimensions = MathTask.dimensions
    reward_form = AnswerForm()
    formats: ClassVar = {"gym": Format(gym_problem, frozenset({"question", "answer", "metadata"}))}

    def read_artifact(self, problem: Problem, text: str) -> str | None:
        """What the last tag holds, else the answer as in math, else the last line."""
        tagged = _TAGGED.findall(text)
        if tagged:
            return tagged[-1].strip() or None
        lines = [line for line in text.splitlines() if line.strip()]
        return read_answer(text) or (lines[-1].strip() if lines else None)

    def leaks(self, problem: Problem, reasoning: str) -> bool:
        return problem.answer is not None and states_answer(problem.answer, reasoning)

    def mask(self, problem: Problem, reasoning: str) -> str:
        """Every mention of the answer from the first leak on is masked."""
        return reasoning if problem.answer is None else mask_answer(problem.answer, reasoning)

    def verify(self, problem: Problem, artifact: Artifact, tools: Tools) -> Verdict:
        if artifact.content is None:
            return Verdict("no_artifact")
        return tools.score_answer(artifact.content, gym_entry(problem))

    def read_reference(self, record: Record) -> Reference:
        """The field ``answer``."""
        return Reference(required_text(record, "answer"))

    def read_problem(self, record: Record) -> Problem:
        """The project's own form keeps the generator's record whole, in ``entry``."""
        return gym_problem({"id": record.get("id"), **mapping(record.get("entry"), "entry")})

    def group_reference(self, record: Record) -> Reference:
        """None: a group keeps no generator's record."""
        return Reference()

    def complete(self, problem: Problem) -> Problem:
        raise RecordError("no_reference", "task", "problems of reasoning-gym cannot be scored from a group")
