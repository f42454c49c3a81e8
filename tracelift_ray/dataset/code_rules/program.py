"""Reads a reference program for narration: the function that its tests call and what that one needs.

Refused, with the reason, is what statement templates cannot say, such as classes and generators.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.tasks.code_tests import parse_python
from tracelift_ray.types import CodeTests, Problem

MAX_STATEMENTS = 40
_REFUSED: dict[type[ast.AST], str] = {
    ast.ClassDef: "defines a class", ast.With: "opens a resource", ast.Yield: "is a generator",
    ast.YieldFrom: "is a generator", ast.NamedExpr: "assigns inside an expression", ast.Match: "matches structures",
    ast.AsyncFunctionDef: "is asynchronous", ast.Raise: "raises errors",
}  # fmt: skip


@dataclass(frozen=True)
class Program:
    """A reference program without what its tests never reach: imports, constants and functions, in their order.
    ``main`` is the name of the function that the tests call."""

    module: ast.Module
    main: str

    @property
    def source(self) -> str:
        """The program as text."""
        return ast.unparse(ast.fix_missing_locations(self.module))

    @property
    def functions(self) -> list[ast.FunctionDef]:
        """Its functions, the main one last."""
        found = [node for node in self.module.body if isinstance(node, ast.FunctionDef)]
        return sorted(found, key=lambda function: function.name == self.main)


def read_program(problem: Problem) -> Program:
    """The reference program of a problem. Raises Refused."""
    if problem.solution is None:
        raise Refused("the data has no reference program")
    if problem.tests is None or problem.tests.kind != "function":
        raise Refused("the reference program is not a function with tests")
    try:
        module, tests = parse_python(problem.solution), parse_python("\n".join(problem.tests.asserts))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused("the reference program does not parse") from None
    for node in ast.walk(module):
        if type(node) in _REFUSED:
            raise Refused(f"the reference program {_REFUSED[type(node)]}")
        if isinstance(node, ast.For | ast.While) and node.orelse:
            raise Refused("the reference program has a loop with an else branch")
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    main = _tested(module, tests, problem.tests)
    module.body = _reached(module, main)
    if sum(isinstance(node, ast.stmt) for node in ast.walk(module)) > MAX_STATEMENTS:
        raise Refused("the reference program is long")
    return Program(module, main)


def _tested(module: ast.Module, tests: ast.Module, checks: CodeTests) -> str:
    """The name of the one function that the tests call."""
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    called = functions & ({node.id for node in ast.walk(tests) if isinstance(node, ast.Name)} | {checks.entry_point})
    if len(called) != 1:
        raise Refused("the tests do not call one function of the reference program")
    return called.pop()


def _reached(module: ast.Module, main: str) -> list[ast.stmt]:
    """What of a module its main function needs; imports stay."""
    kept: list[ast.stmt] = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    wanted = {main}
    while new := [node for node in module.body if node not in kept and wanted & _named(node)]:
        kept += new
        wanted |= {each.id for node in new for each in ast.walk(node) if isinstance(each, ast.Name)}
    return [node for node in module.body if node in kept]


def _named(statement: ast.stmt) -> set[str]:
    """What a statement of a module gives names to."""
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
