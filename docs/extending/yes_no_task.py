"""A task: questions with the answer yes or no, and BoolQ's file format.

To install it: copy it to ``tracelift_ray/tasks/yes_no.py``, add ``YesNoTask()`` to ``TASKS`` in ``tasks/table.py``, and
its prompts to the files of ``conf/prompts/`` that shall know it.
"""

from __future__ import annotations

import re
from typing import ClassVar

from tracelift_ray.records import Record, RecordError, required_text
from tracelift_ray.reward.forms import AnswerForm
from tracelift_ray.tasks.base import Format, Reference, Task, Tools, own_id, required_answer
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.tasks.traces import masked
from tracelift_ray.types import Artifact, Problem, Verdict

WORDS = ("yes", "no")
_SAID = re.compile(r"\b(?:answer\s+is|####)[\s:*]*(yes|no)\b", re.IGNORECASE)
_ANY = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def boolq_problem(record: Record) -> Problem:
    """BoolQ (Clark et al. 2019): ``question``, ``passage``, and ``answer``, true or false."""
    if not isinstance(record.get("answer"), bool):
        raise RecordError("no_reference", "answer", "must be true or false", record.get("answer"))
    question, passage = required_text(record, "question"), required_text(record, "passage")
    answer = WORDS[0] if record["answer"] else WORDS[1]
    statement = f"{passage}\n\n{question}?"
    return Problem(own_id(record, "boolq", statement), YesNoTask.name, statement, YesNoTask.name, answer)


class YesNoTask(Task):
    """The artifact is ``yes`` or ``no``."""

    name = "yes_no"
    dimensions = MathTask.dimensions
    reward_form = AnswerForm()
    formats: ClassVar = {"boolq": Format(boolq_problem, frozenset({"question", "passage", "answer"}))}

    def chance(self, problem: Problem) -> float:
        return 1 / len(WORDS)

    def read_artifact(self, problem: Problem, text: str) -> str | None:
        """The word that is stated last as the answer, else the last one at all."""
        found = _SAID.findall(text) or _ANY.findall(text)
        return found[-1].lower() if found else None

    def leaks(self, problem: Problem, reasoning: str) -> bool:
        """Whether the right word is stated as the answer."""
        return any(match[1].lower() == problem.answer for match in _SAID.finditer(reasoning))

    def mask(self, problem: Problem, reasoning: str) -> str:
        return masked(reasoning, [m.span(1) for m in _SAID.finditer(reasoning) if m[1].lower() == problem.answer])

    def verify(self, problem: Problem, artifact: Artifact, tools: Tools) -> Verdict:
        if problem.answer is None:
            raise ValueError(f"problem {problem.id}: a problem of task {self.name} needs an answer")
        if artifact.content is None:
            return Verdict("no_artifact")
        return Verdict("passed", 1) if artifact.content == problem.answer else Verdict("wrong_answer")

    def read_reference(self, record: Record) -> Reference:
        answer = required_answer(record, self.name).lower()
        if answer not in WORDS:
            raise RecordError("no_reference", "answer", "must be yes or no", answer)
        return Reference(answer)

    def group_reference(self, record: Record) -> Reference:
        return self.read_reference(record) if record.get("answer") is not None else Reference()

    def complete(self, problem: Problem) -> Problem:
        if problem.answer is None:
            raise RecordError("no_reference", "answer", "must be yes or no")
        return problem
