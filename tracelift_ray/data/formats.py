"""The problem formats: each reads one decoded record as a Problem or raises RecordError.

Beside the project's own form and TraceLift-Groups these are the published formats that the tasks know. A format without
ids gives each problem one made from its text and reference, so that an id stays the same when rows are added, moved or
split over files.
"""

from __future__ import annotations

import json
from typing import Any

from tracelift_ray.data.rubric_records import named_task, parse_rubric_record
from tracelift_ray.records import Record, RecordError, items, mapping, optional_text, required_text
from tracelift_ray.tasks.base import Format, own_id
from tracelift_ray.tasks.code import CODE
from tracelift_ray.tasks.code_tests import tests_record
from tracelift_ray.tasks.math import MATH
from tracelift_ray.tasks.table import TASKS, task_of
from tracelift_ray.types import Problem

#: What verl calls problems whose artifacts are programs.
_VERL_CODE = "code"


def parse_problem(record: Record) -> Problem:
    """The project's own form: id, task, statement, and what the task checks artifacts against (``answer`` or
    ``tests``); optionally task_type (default: the task) and solution. Other fields are ignored."""
    return task_of(named_task(record)).read_problem(record)


def parse_groups(record: Record) -> Problem:
    """The problem of a TraceLift group; here, unlike for a reasoning RM, it must have a reference or tests, for code
    at least the examples of its statement."""
    problem = parse_rubric_record(record).problem
    return task_of(problem.task).complete(problem)


def parse_verl(record: Record) -> Problem:
    """verl's form: ``prompt`` (a text, or messages of which the last is the problem), ``data_source``, and the
    reference in ``reward_model.ground_truth``: an answer, or for ability ``code`` tests as JSON. The statement is
    ``extra_info.question`` where there is one: the prompt also says how to answer."""
    reward_model, extra = (mapping(record.get(name), name) for name in ("reward_model", "extra_info"))
    if optional_text(extra, "question", where="extra_info."):
        statement = required_text(extra, "question", where="extra_info.")
    elif isinstance(record.get("prompt"), list):
        messages = items(record["prompt"], "prompt")
        statement = required_text(mapping(messages[-1] if messages else None, "prompt"), "content", where="prompt.")
    else:
        statement = required_text(record, "prompt")
    truth = reward_model.get("ground_truth")
    if truth is None:
        raise RecordError("no_reference", "reward_model.ground_truth", "is required")
    source = required_text(record, "data_source")
    is_code = optional_text(record, "ability") == _VERL_CODE
    reference = {"tests": _decoded(truth)} if is_code else {"answer": truth}
    id = own_id({}, source.replace("/", "-"), statement, str(truth))
    plain = {"id": id, "task_type": source, "statement": statement, **reference}
    return task_of(CODE if is_code else MATH).read_problem(plain)


def _decoded(tests: Any) -> Any:
    """Tests as verl stores them: JSON in a text, or the object itself."""
    if not isinstance(tests, str):
        return tests
    try:
        return json.loads(tests)
    except ValueError:
        raise RecordError("no_tests", "reward_model.ground_truth", "must be tests as JSON", tests) from None


#: The formats by name. Those of the tasks come last, the one with the most telling keys first.
FORMATS: dict[str, Format] = {
    "groups": Format(parse_groups, frozenset({"positive_pool"})),
    "problems": Format(parse_problem, frozenset({"statement", "task"})),
    "verl": Format(parse_verl, frozenset({"prompt", "data_source", "reward_model"})),
}
FORMATS |= sorted(
    ((name, form) for task in TASKS.values() for name, form in task.formats.items()),
    key=lambda each: -len(each[1].telling),
)


def detect_format(record: Record) -> str | None:
    """The first format whose telling keys the record has, or None."""
    return next((name for name, form in FORMATS.items() if form.telling and form.telling <= record.keys()), None)


def problem_record(problem: Problem) -> dict[str, Any]:
    """The project's own form of a problem; ``parse_problem`` gives it back."""
    record: dict[str, Any] = {"id": problem.id, "task": problem.task, "task_type": problem.task_type}
    record["statement"] = problem.statement
    if problem.answer is not None:
        record["answer"] = problem.answer
    if problem.tests is not None:
        record["tests"] = tests_record(problem.tests)
    if problem.solution is not None:
        record["solution"] = problem.solution
    if problem.entry:
        record["entry"] = json.loads(problem.entry)
    return record
