"""Says which numbers a range goes through: ``range(1, n + 1)`` is "i from 1 to n"."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.shapes import called

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases


def span(phrases: Phrases, iterated: ast.expr, letter: str) -> str:
    """``i from 1 to n``; ``position i of the list`` for all positions."""
    assert isinstance(iterated, ast.Call)
    arguments = iterated.args
    start: ast.expr = ast.Constant(value=0) if len(arguments) == 1 else arguments[0]
    end = arguments[0] if len(arguments) == 1 else arguments[1]
    step = arguments[2] if len(arguments) > 2 else None
    from_zero = isinstance(start, ast.Constant) and start.value == 0
    if step is None and from_zero and isinstance(end, ast.Call) and called(end) == "len":
        return f"position {letter} of {phrases.value(end.args[0])}"
    down = isinstance(step, ast.UnaryOp) and isinstance(step.op, ast.USub)
    last = phrases.value(_one_on(end) if down else _one_back(end))
    way = f"from {phrases.value(start)} {'down ' if down else ''}to {last}"
    if step is None or _is_one(step.operand if isinstance(step, ast.UnaryOp) else step):
        return f"{letter} {way}"
    size = step.operand if isinstance(step, ast.UnaryOp) else step
    return f"{letter} {way} in steps of {phrases.value(size)}"


def is_range(node: ast.expr) -> bool:
    """Whether an expression is a call of ``range``."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _one_back(end: ast.expr) -> ast.expr:
    """The last whole number before ``end``, simplified."""
    return _moved(end, -1)


def _one_on(end: ast.expr) -> ast.expr:
    return _moved(end, 1)


def _moved(end: ast.expr, by: int) -> ast.expr:
    match end:
        case ast.Constant(value=int() as value):
            return _number(value + by)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return _number(by - value)
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant(value=int() as value)):
            return _added(left, value + by)
        case ast.BinOp(left=left, op=ast.Sub(), right=ast.Constant(value=int() as value)):
            return _added(left, by - value)
    return _added(end, by)


def _added(left: ast.expr, value: int) -> ast.expr:
    if value == 0:
        return left
    return ast.BinOp(left=left, op=ast.Add() if value > 0 else ast.Sub(), right=_number(abs(value)))


def _number(value: int) -> ast.expr:
    return ast.Constant(value=value) if value >= 0 else ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=-value))
