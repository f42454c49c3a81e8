"""The published problem formats: each function reads one decoded record as a Problem or raises RecordError.

A format without ids gives each problem one made from its text and reference, so that an id stays the same when rows
are added, moved or split over files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import xxhash

from tracelift_ray.data.code_tests import function_tests, read_tests, tests_record
from tracelift_ray.data.fields import as_text, identifier, items, optional_text, required_text, scalar_text
from tracelift_ray.data.jsonl import Record, RecordError
from tracelift_ray.data.rubric_records import parse_rubric_record
from tracelift_ray.data.statement_examples import statement_examples
from tracelift_ray.types import Problem, Task

_CALCULATOR_NOTE = re.compile(r"<<[^<>]*>>")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NO_TESTS = "a problem without tests is refused: its programs could never pass"


def detect_format(record: Record) -> str | None:
    """The format whose telling keys the record has, or None."""
    for name, keys in _TELLING_KEYS.items():
        if keys <= record.keys():
            return name
    return None


def parse_problem(record: Record) -> Problem:
    """The project's own form: id, task, statement, and ``answer`` (math) or ``tests`` (code); optionally task_type
    (default: the task) and solution. Other fields are ignored. A code problem without ``tests`` is tested with the
    examples of its statement, where it has any."""
    task = required_text(record, "task")
    if task not in get_args(Task):
        raise RecordError("wrong_value", "task", "must be math or code", task)
    answer = tests = None
    if task == "math":
        answer = _required_answer(record)
    elif record.get("tests"):
        tests = read_tests(record["tests"], "tests")
    else:
        tests = statement_examples(required_text(record, "statement"))
        if tests is None:
            raise RecordError("no_tests", "tests", _NO_TESTS)
    return Problem(
        id=identifier(record, "id"),
        task="math" if task == "math" else "code",
        statement=required_text(record, "statement"),
        task_type=optional_text(record, "task_type") or task,
        answer=answer,
        tests=tests,
        solution=optional_text(record, "solution"),
    )


def parse_gsm8k(record: Record) -> Problem:
    """GSM8K (Cobbe et al. 2021): the reference follows ``####``; the solution loses its calculator notes."""
    question = required_text(record, "question")
    worked, mark, reference = required_text(record, "answer").rpartition("####")
    reference = _THOUSANDS.sub("", reference.strip())
    if not mark or not reference:
        raise RecordError("no_reference", "answer", "must end with #### and the reference answer")
    return Problem(
        id=_own_id(record, "gsm8k", question, reference),
        task="math",
        statement=question,
        task_type="math",
        answer=reference,
        solution=_CALCULATOR_NOTE.sub("", worked).strip() or None,
    )


def parse_mbpp(record: Record) -> Problem:
    """MBPP (Austin et al. 2021), full (``text``) or sanitized (``prompt``) form.

    The statement does not name the function; prompts show the first test, which does.
    """
    raw = items(record.get("test_list") or [], "test_list")
    asserts = tuple(as_text(text, f"test_list[{i}]") for i, text in enumerate(raw))
    imports = items(record.get("test_imports") or [], "test_imports")
    setup = [as_text(text, f"test_imports[{i}]") for i, text in enumerate(imports)]
    setup.append(optional_text(record, "test_setup_code") or "")
    tests = function_tests(asserts, "\n".join(setup).strip(), None, "test_list")
    return Problem(
        id=f"mbpp-{identifier(record, 'task_id')}",
        task="code",
        statement=required_text(record, "text" if record.get("text") is not None else "prompt"),
        task_type="code",
        tests=tests,
        solution=optional_text(record, "code"),
    )


def parse_humaneval(record: Record) -> Problem:
    """HumanEval (Chen et al. 2021).

    What the prompt defines before the function (imports, helpers) becomes the tests' setup, since programs and tests
    use it. The solution is the whole program.
    """
    prompt = required_text(record, "prompt")
    entry_point = required_text(record, "entry_point")
    start = re.search(rf"^def {re.escape(entry_point)}\(", prompt, re.MULTILINE)
    if start is None:
        raise RecordError("wrong_value", "entry_point", "must be a function that the prompt begins", entry_point)
    if not optional_text(record, "test"):
        raise RecordError("no_tests", "test", _NO_TESTS)
    setup = prompt[: start.start()].strip()
    tests = function_tests((required_text(record, "test"),), setup, entry_point, "test")
    body = record.get("canonical_solution")
    return Problem(
        id=identifier(record, "task_id"),
        task="code",
        statement=prompt,
        task_type="code",
        tests=tests,
        solution=f"{prompt}\n{_body(body)}" if body else None,
    )


def parse_math500(record: Record) -> Problem:
    """MATH and its subset MATH-500 (Hendrycks et al. 2021; Lightman et al. 2023): the reference is ``answer``, in
    LaTeX; the subject becomes the task type."""
    problem = required_text(record, "problem")
    answer = _required_answer(record)
    id = record.get("unique_id")
    return Problem(
        id=f"math-{identifier(record, 'unique_id')}" if id is not None else _own_id(record, "math", problem, answer),
        task="math",
        statement=problem,
        task_type=optional_text(record, "subject") or "math",
        answer=answer,
        solution=optional_text(record, "solution"),
    )


def parse_groups(record: Record) -> Problem:
    """The problem of a TraceLift group; here, unlike for a reasoning RM, it must have a reference or tests, for code
    at least the examples of its statement."""
    problem = parse_rubric_record(record).problem
    if problem.task == "code" and problem.tests is None:
        problem = replace(problem, tests=statement_examples(problem.statement))
    if problem.task == "math" and problem.answer is None:
        rule = "must hold the answer, in answer, metadata.answer, or after #### in reference_solution"
        raise RecordError("no_reference", "reference_solution", rule, problem.solution)
    if problem.task == "code" and problem.tests is None:
        raise RecordError("no_tests", "tests_or_constraints", _NO_TESTS)
    return problem


#: Readers of one record by the name of the format.
FORMATS: dict[str, Callable[[Record], Problem]] = {
    "problems": parse_problem,
    "gsm8k": parse_gsm8k,
    "mbpp": parse_mbpp,
    "humaneval": parse_humaneval,
    "math500": parse_math500,
    "groups": parse_groups,
}
_TELLING_KEYS = {
    "groups": {"positive_pool"},
    "problems": {"statement", "task"},
    "humaneval": {"prompt", "test", "entry_point"},
    "mbpp": {"test_list", "task_id"},
    "gsm8k": {"question", "answer"},
    "math500": {"problem", "answer", "subject"},
}


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
    return record


def _required_answer(record: Record) -> str:
    value = record.get("answer")
    answer = "" if value is None else scalar_text(value, "answer")
    if not answer:
        raise RecordError("no_reference", "answer", "a math problem needs a reference answer")
    return answer


def _own_id(record: Record, prefix: str, *parts: str) -> str:
    """The record's own ``id``, else one made from what the problem says."""
    if record.get("id") is not None:
        return identifier(record, "id")
    return f"{prefix}-{xxhash.xxh3_64_hexdigest(chr(0).join(parts).encode())}"


def _body(value: Any) -> str:
    """A function body as it stands: its indentation is part of the program."""
    if not isinstance(value, str):
        raise RecordError("wrong_type", "canonical_solution", "must be text", value)
    return value.rstrip()
