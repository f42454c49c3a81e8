"""A typed line read as a problem: ``problem``, ``problem ||| reference``, or a record of the project's own form.

The reference of a math problem is its answer; that of a program is ``input => output``, where ``\\n`` stands for a line
break, or tests in the project's own form as JSON. A problem without a reference is asked all the same, and gets no
verdicts.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tracelift_ray.data.rubric_records import named_task
from tracelift_ray.errors import DataError
from tracelift_ray.records import RecordError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

SEPARATOR = "|||"
_ARROW = "=>"
#: How a JSON object begins, and a problem about a set does not.
_RECORD = re.compile(r'\{\s*["}]')


def read_problem(line: str, task: str, number: int) -> Problem:
    """The problem of one line.

    Args:
        line: as it was typed; LaTeX stays as it is.
        task: of a line that is no record.
        number: which line of the conversation it is; names the problem.

    Raises:
        DataError: says in one line what cannot be read.
    """
    if is_record(line):
        return _of_record(_json(line, "the line"), number)
    statement, given, reference = (part.strip() for part in line.partition(SEPARATOR))
    record = {"task": task, "statement": statement}
    return _of_record(record | (_reference(task, reference) if given and reference else {}), number)


def is_record(line: str) -> bool:
    """Whether a line is meant as a record."""
    return _RECORD.match(line) is not None


def has_reference(problem: Problem) -> bool:
    """Whether artifacts can be checked."""
    return problem.answer is not None or problem.tests is not None


def _of_record(record: dict[str, Any], number: int) -> Problem:
    record = {"id": f"chat-{number}"} | record
    try:
        task = task_of(named_task(record))
        if "answer" in record or "tests" in record:
            return task.read_problem(record)
        return Problem(str(record["id"]), task.name, task.read_statement(record), task_type=task.name)
    except RecordError as error:
        raise DataError(f"this is no problem: {error.field} {error.rule}") from error


def _reference(task: str, text: str) -> dict[str, Any]:
    if not task_of(task).runs_programs:
        return {"answer": text}
    if is_record(text):
        return {"tests": _json(text, "the reference")}
    given, arrow, wanted = (part.strip().replace("\\n", "\n") for part in text.partition(_ARROW))
    if not arrow:
        raise DataError(f"the reference of a program is INPUT {_ARROW} OUTPUT, or tests as JSON")
    return {"tests": {"inputs": [f"{given}\n"], "outputs": [f"{wanted}\n"]}}


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{what} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{what} is no JSON object")
    return value
