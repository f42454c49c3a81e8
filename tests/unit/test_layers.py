"""Imports go one way: launch, then actors, then the library; and reading a configuration loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.hang import HANG_S

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {"tracelift_ray": {"ray", "actors", "launch"}, "actors": {"launch"}}
HEAVY = ("torch", "ray", "vllm", "deepspeed", "transformers", "wandb", "math_verify")


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_layer_imports_one_above_it(layer: str) -> None:
    files = sorted((ROOT / layer).rglob("*.py"))
    assert len(files) > 5
    wrong = {str(path.relative_to(ROOT)): imported(path) & FORBIDDEN[layer] for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def modules_imported(path: Path) -> set[str]:
    """Modules of the library that a file imports when it runs, at its top or inside functions."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("tracelift_ray")
            and id(node) not in for_types
        ):
            module = str(node.module)
            names = (f"{module}.{alias.name}" for alias in node.names)
            found |= {
                name if (ROOT / name.replace(".", "/")).with_suffix(".py").is_file() else module for name in names
            }
    return found


@pytest.mark.parametrize("depth", [2, 9], ids=["packages", "files"])
def test_nothing_imports_in_a_circle(depth: int) -> None:
    graph: dict[str, set[str]] = {}
    for path in (ROOT / "tracelift_ray").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        own = ".".join(module.split(".")[:depth])
        others = {".".join(name.split(".")[:depth]) for name in modules_imported(path)}
        graph.setdefault(own, set()).update(others - {own})
    assert len(graph) > 10
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_a_run_and_its_pools_are_imported_without_torch() -> None:
    code = (
        "import sys, actors.lives, actors.system; sys.exit(' '.join({'torch', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "launch.train",
        "launch.evaluate",
        "launch.warm_start",
        "launch.train_rm",
        "launch.build_groups",
        "launch.report",
        "launch.serve_rm",
        "launch.simulate",
        "launch.chaos",
    ],
)
def test_a_command_is_imported_without_heavy_packages(module: str) -> None:
    code = f"import sys, {module}; sys.exit(', '.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
