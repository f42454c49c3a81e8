"""The text that the reasoning RM reads. It is a data format: released checkpoints depend on every character of it.

Each text is stripped and the parts are joined by one newline::

    <task>math</task>
    <type>word problem</type>
    <problem>
    statement
    </problem>
    <tests>
    tests
    </tests>
    <reasoning>
    trace
    </reasoning>

The ``<tests>`` block is there exactly where the problem has tests. Function tests are their asserts, one after the
other; stdin/stdout tests are, for each test, the line ``input:``, the input, the line ``output:``, the output.
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
    return dataclasses.replace(problem, statement="", task_type="", tests=None)


def render_tests(tests: CodeTests) -> str:
    """The tests as lines of text, without the surrounding tags."""
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
    if problem.tests is not None and len(problem.tests):
        lines += ["<tests>", render_tests(problem.tests), "</tests>"]
    head = "\n".join([*lines, "<reasoning>"]) + "\n"
    trace = reasoning.strip()
    return RenderedInput(f"{head}{trace}\n</reasoning>", len(head), len(head) + len(trace))
