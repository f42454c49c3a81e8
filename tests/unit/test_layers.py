"""Imports go one way: launch, then actors, then the library; and reading a configuration loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
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
    ],
)
def test_a_command_is_imported_without_heavy_packages(module: str) -> None:
    code = f"import sys, {module}; sys.exit(', '.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
