"""The text that the reasoning RM reads. It is a data format: released checkpoints depend on every character of it.

Each text is stripped and the parts are joined by one newline::

    <task>math</task>
    <type>word problem</type>
    <problem>
    statement
    </problem>
    <tests>
    tests or constraints
    </tests>
    <reasoning>
    trace
    </reasoning>

The ``<tests>`` block is there exactly where the data has tests or constraints, of any task. It holds their text as the
data has it (``Problem.tests_text``), runnable or not. Tests that the data gives in another form than text are lines:
of function tests the asserts, one after the other; of stdin/stdout tests, for each one, ``input:``, the input,
``output:``, the output.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tracelift_ray.types import CodeTests, Problem


@dataclass(frozen=True)
class RenderedInput:
    """The RM's input text, and where the trace lies in it, as characters ``[start, end)``."""

    text: str
    start: int
    end: int


def hide_problem(problem: Problem) -> Problem:
    """The problem as a trace-only model is shown it: its task, and nothing that the trace could be held against."""
    return dataclasses.replace(problem, statement="", task_type="", tests=None, tests_text="")


def tests_text(problem: Problem) -> str:
    """What stands between the tags ``<tests>``, stripped; empty: there is no such block."""
    if problem.tests_text:
        return problem.tests_text.strip()
    return _render_tests(problem.tests) if problem.tests is not None else ""


def _render_tests(tests: CodeTests) -> str:
    """Runnable tests as lines of text."""
    if tests.kind == "function":
        return "\n".join(statement.strip() for statement in tests.asserts)
    pairs = zip(tests.inputs, tests.outputs, strict=True)
    return "\n".join(f"input:\n{given.strip()}\noutput:\n{expected.strip()}" for given, expected in pairs)


def render_input(problem: Problem, reasoning: str) -> RenderedInput:
    """The RM's input for one trace of a problem; ``reasoning`` is the text inside the trace's tag."""
    lines = [
        f"<task>{problem.task.strip()}</task>",
        f"<type>{problem.task_type.strip()}</type>",
        "<problem>",
        problem.statement.strip(),
        "</problem>",
    ]
    if tests := tests_text(problem):
        lines += ["<tests>", tests, "</tests>"]
    head = "\n".join([*lines, "<reasoning>"]) + "\n"
    trace = reasoning.strip()
    return RenderedInput(f"{head}{trace}\n</reasoning>", len(head), len(head) + len(trace))
