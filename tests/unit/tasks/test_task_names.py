"""Nothing outside ``tasks/`` knows a task by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.table import TASKS, task_of

ROOT = Path(__file__).resolve().parents[3]
CODE = [path for folder in ("tracelift_ray", "actors", "launch") for path in sorted((ROOT / folder).rglob("*.py"))]
#: Files with a word that is no task's name, and why; of the demo world, its one table by task.
ALLOWED = {
    ("tracelift_ray/demo/world.py", "math"): "key of the world's table",
    ("tracelift_ray/demo/world.py", "code"): "key of the world's table",
    ("tracelift_ray/dataset/code_rules/expressions.py", "math"): "a module of Python",
    ("tracelift_ray/data/formats.py", "code"): "ability of verl's form",
    ("tracelift_ray/tracking/run_dir.py", "code"): "field of run.json: the version of our code",
    ("tracelift_ray/verification/sandbox_fusion/client.py", "code"): "field of the /run_code protocol",
}


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Lines in which a text constant is a task's name. Keyword names and attributes are no constants."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in TASKS and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_task_is_named_outside_tasks() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name!r}"
        for path in CODE
        if path.parent != ROOT / "tracelift_ray/tasks"
        for line, name in names_in(path.read_text())
        if (str(path.relative_to(ROOT)), name) not in ALLOWED
    ]
    assert found == [], "ask tasks.table.task_of(problem.task) instead of comparing names"


def test_the_search_finds_a_comparison_a_key_and_a_default() -> None:
    source = 'if task == "math":\n    pass\nkinds = {"code": 1}\ndef f(task="choice"): ...\nmath = math.pi\n'
    assert [name for _, name in names_in(source)] == ["math", "code", "choice"]


def test_the_table_lists_every_task_by_its_own_name() -> None:
    assert {name: task.name for name, task in TASKS.items()} == {name: name for name in TASKS}
    assert all(len(task.dimensions) == 5 for task in TASKS.values())


def test_an_unknown_task_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(DataError, match="task 'poetry': there is no such task; there are math, code, choice"):
        task_of("poetry")
