"""Reads a reference program for narration: its main function, its helper, what its tests call it with.

The program is brought into a plainer form that does the same (``code_plainer.py``). What a plan in plain English could
not say well is refused with its reason.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import Any

from tracelift_ray.dataset.code_rules.plainer import Replaced, make_plainer
from tracelift_ray.dataset.code_rules.shapes import Shape, common, shape_of_value
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.types import CodeTests

MAX_STATEMENTS = 24
MAX_DEPTH = 5
_REFUSED: dict[type[ast.AST], str] = {
    ast.ClassDef: "defines a class",
    ast.Try: "handles exceptions",
    ast.With: "opens a resource",
    ast.Yield: "is a generator",
    ast.YieldFrom: "is a generator",
    ast.Global: "changes global state",
    ast.Nonlocal: "changes outer state",
    ast.NamedExpr: "assigns inside an expression",
    ast.Starred: "unpacks arguments",
    ast.Delete: "deletes names",
    ast.Invert: "inverts bits",
    ast.Match: "matches structures",
    ast.AsyncFunctionDef: "is asynchronous",
}


@dataclass(frozen=True)
class Program:
    """A reference program in its plainer form.

    Attributes:
        module: the whole program, as its tests can run it.
        main: the function that the tests call; a node of ``module``.
        helper: the one function that ``main`` calls beside itself, or None.
        calls: the arguments of the calls in the tests that are plain values, one tuple a call.
    """

    module: ast.Module
    main: ast.FunctionDef
    helper: ast.FunctionDef | None
    calls: tuple[tuple[Any, ...], ...]

    @property
    def source(self) -> str:
        """The program as text."""
        return ast.unparse(ast.fix_missing_locations(self.module))


def read_program(source: str, checks: CodeTests) -> Program:
    """Read a program and the tests that call it. Raises Refused, with the reason, where it cannot be narrated."""
    try:
        module = _parse(source)
        tests = _parse("\n".join(checks.asserts))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused("the reference program does not parse") from None
    for node in ast.walk(module):
        reason = _REFUSED.get(type(node))
        if reason is not None:
            raise Refused(f"the reference program {reason}")
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    main, calls = _tested(functions, tests, checks.entry_point)
    _inline_constants(module, list(functions.values()))
    others = [node for node in module.body if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)]
    if others:
        raise Refused("the reference program computes outside of its function")
    for function in functions.values():
        _refuse_unusual(function)
        make_plainer(function, _input_shapes(function, calls) if function is main else {})
        _refuse_early_ends(function.body)
    helpers = _helpers(main, functions)
    if len(helpers) > 1:
        raise Refused("the reference program has several helpers")
    if sum(isinstance(node, ast.stmt) for node in ast.walk(module)) > MAX_STATEMENTS:
        raise Refused("the reference program is long")
    return Program(module, main, helpers[0] if helpers else None, calls)


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return ast.parse(source)


def _tested(
    functions: dict[str, ast.FunctionDef], tests: ast.Module, entry_point: str | None
) -> tuple[ast.FunctionDef, tuple[tuple[Any, ...], ...]]:
    """The function that the tests call, and the calls whose arguments are plain values."""
    found: list[tuple[Any, ...]] = []
    names: set[str] = set()
    for node in ast.walk(tests):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = entry_point if entry_point and node.func.id == "candidate" else node.func.id
            if called not in functions:
                continue
            names.add(called)
            try:
                found.append(tuple(ast.literal_eval(argument) for argument in node.args))
            except ValueError:
                continue
    if len(names) != 1:
        raise Refused("the tests do not call one function of the reference program")
    return functions[names.pop()], tuple(found)


def _inline_constants(module: ast.Module, functions: list[ast.FunctionDef]) -> None:
    """A literal that the program names outside of its functions stands where it is used."""
    for statement in list(module.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant() as value):
                for function in functions:
                    local = {argument.arg for argument in function.args.args} | {
                        node.id
                        for node in ast.walk(function)
                        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
                    }
                    if name not in local:
                        Replaced(name, value).visit(function)
                module.body.remove(statement)


def _input_shapes(function: ast.FunctionDef, calls: tuple[tuple[Any, ...], ...]) -> dict[str, Shape]:
    """The shapes of the arguments that the tests' calls tell."""
    shapes = {}
    for place, argument in enumerate(function.args.args):
        values = [call[place] for call in calls if place < len(call)]
        if values:
            shapes[argument.arg] = common(shape_of_value(value) for value in values)
    return shapes


def _refuse_early_ends(body: list[ast.stmt]) -> None:
    """A loop that always ends in its first turn is a mistake that the tests happen to miss."""
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, ast.For) and _always_leaves(node.body):
            raise Refused("the reference program leaves a loop in its first turn")


def _always_leaves(body: list[ast.stmt]) -> bool:
    if not body:
        return False
    match body[-1]:
        case ast.Return() | ast.Break():
            return not any(isinstance(node, ast.Continue) for statement in body for node in ast.walk(statement))
        case ast.If(body=then, orelse=other):
            return _always_leaves(then) and _always_leaves(other)
    return False


def _helpers(main: ast.FunctionDef, functions: dict[str, ast.FunctionDef]) -> list[ast.FunctionDef]:
    """The functions that ``main`` reaches, itself left out."""
    reached, waiting = {main.name}, [main]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Name) and node.id in functions and node.id not in reached:
                reached.add(node.id)
                waiting.append(functions[node.id])
    return [functions[name] for name in functions if name in reached and name != main.name]


def _refuse_unusual(function: ast.FunctionDef) -> None:
    inner = [node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node is not function]
    if inner:
        raise Refused("the reference program nests functions")
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        raise Refused("the reference program takes any number of arguments")
    if _depth(function.body) > MAX_DEPTH:
        raise Refused("the reference program nests deeply")
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.While) and node.orelse:
            raise Refused("the reference program has a loop with an else branch")


def _depth(body: list[ast.stmt]) -> int:
    deepest = 0
    for statement in body:
        orelse = getattr(statement, "orelse", [])
        inner = max(_depth(getattr(statement, "body", [])), _depth(orelse))
        is_chain = isinstance(statement, ast.If) and len(orelse) == 1 and isinstance(orelse[0], ast.If)
        deepest = max(deepest, inner if is_chain else inner + 1)
    return deepest if body else 0
