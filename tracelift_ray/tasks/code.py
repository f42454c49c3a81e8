"""Code: the artifact is a Python program, run against the problem's tests. Formats: MBPP and HumanEval."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from tracelift_ray.records import Record, RecordError, as_text, identifier, items, optional_text, required_text
from tracelift_ray.reward.forms import ProgramForm
from tracelift_ray.tasks.base import Format, Reference, Task, Tools
from tracelift_ray.tasks.code_tests import asserts_in, function_tests, read_tests
from tracelift_ray.tasks.programs import ANSWERED, holds_program, mask_program, read_program
from tracelift_ray.tasks.statement_examples import statement_examples
from tracelift_ray.types import Artifact, Problem, Verdict

CODE = "code"
_NO_TESTS = "a problem without tests is refused: its programs could never pass"


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
        task=CODE,
        statement=required_text(record, "text" if record.get("text") is not None else "prompt"),
        task_type=CODE,
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
        task=CODE,
        statement=prompt,
        task_type=CODE,
        tests=tests,
        solution=f"{prompt}\n{_body(body)}" if body else None,
    )


def _body(value: Any) -> str:
    """A function body as it stands: its indentation is part of the program."""
    if not isinstance(value, str):
        raise RecordError("wrong_type", "canonical_solution", "must be text", value)
    return value.rstrip()


class CodeTask(Task):
    """Programs that read standard input, and functions that asserts call."""

    name = CODE
    dimensions = ("task_understanding", "plan_quality", "step_coherence", "action_support", "non_leakage")
    reward_form = ProgramForm()
    formats: ClassVar = {
        "humaneval": Format(parse_humaneval, frozenset({"prompt", "test", "entry_point"})),
        "mbpp": Format(parse_mbpp, frozenset({"test_list", "task_id"})),
    }
    runs_programs = True
    answered = ANSWERED
    solution_is_reasoning = False
    #: How the program is tested (``stdio`` or ``function``), the name of the function that is called (or None), and
    #: one test, for names and types; the others are not shown.
    prompt_variables = ("tested_by", "entry_point", "example_test")

    def values(self, problem: Problem) -> dict[str, Any]:
        tests = problem.tests
        if tests is None or tests.kind == "stdio":
            return {"tested_by": "stdio", "entry_point": None, "example_test": None}
        setup = f"{tests.setup}\n" if tests.setup else ""
        example = None if tests.entry_point is not None else f"{setup}{tests.asserts[0]}"
        return {"tested_by": "function", "entry_point": tests.entry_point, "example_test": example}

    def read_artifact(self, problem: Problem, text: str) -> str | None:
        return read_program(text)

    def leaks(self, problem: Problem, reasoning: str) -> bool:
        return holds_program(reasoning)

    def mask(self, problem: Problem, reasoning: str) -> str:
        """Every fenced block and program line is masked."""
        return mask_program(reasoning)

    def verify(self, problem: Problem, artifact: Artifact, tools: Tools) -> Verdict:
        if problem.tests is None or not len(problem.tests):
            raise ValueError(f"problem {problem.id}: a code problem without tests cannot be verified")
        if artifact.content is None:
            return Verdict("no_artifact", 0, len(problem.tests))
        return tools.run_program(artifact.content, problem.tests)

    def read_reference(self, record: Record) -> Reference:
        """The field ``tests``, else the examples of the statement, where it has any."""
        if record.get("tests"):
            return Reference(tests=read_tests(record["tests"], "tests"))
        tests = statement_examples(required_text(record, "statement"))
        if tests is None:
            raise RecordError("no_tests", "tests", _NO_TESTS)
        return Reference(tests=tests)

    def group_reference(self, record: Record) -> Reference:
        """The tests of a group; a text that is no test, such as a constraint, is none."""
        for name in ("tests_or_constraints", "tests"):
            value = record.get(name)
            if not value:
                continue
            if isinstance(value, str):
                found = asserts_in(as_text(value, name))
                return Reference(tests=function_tests(found, "", None, name) if found else None)
            if isinstance(value, list):
                listed = tuple(as_text(entry, f"{name}[{i}]") for i, entry in enumerate(value))
                return Reference(tests=function_tests(listed, "", None, name))
            return Reference(tests=read_tests(value, name))
        return Reference()

    def complete(self, problem: Problem) -> Problem:
        """The problem with the examples of its statement where it has no tests."""
        if problem.tests is None:
            problem = replace(problem, tests=statement_examples(problem.statement))
        if problem.tests is None:
            raise RecordError("no_tests", "tests_or_constraints", _NO_TESTS)
        return problem
