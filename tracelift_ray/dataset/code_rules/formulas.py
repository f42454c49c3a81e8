"""Arithmetic of a reference program as a formula, such as the one for the n-th triangular number.

Only what mathematics writes the same way: numbers, letters, the four operations, whole parts, remainders, powers,
roots. Anything else is no formula, and is said in words elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from tracelift_ray.dataset.code_rules.names import Name
from tracelift_ray.dataset.code_rules.shapes import called

_SIGNS: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 1),
    ast.Sub: ("-", 1),
    ast.Mult: ("\u00d7", 2),
    ast.Div: ("÷", 2),
    ast.Mod: ("mod", 2),
    ast.Pow: ("^", 4),
}
_CONSTANTS = {"pi": "π", "e": "e"}
_ROOT_POWER = 0.5
_WHOLE = 9


def formula(node: ast.expr, names: Mapping[str, Name]) -> str | None:
    """The expression as a formula of the letters that its names have; None where it is none."""
    written = _write(node, names)
    return None if written is None else written[0]


def _write(node: ast.expr, names: Mapping[str, Name]) -> tuple[str, int] | None:
    """A formula and how tightly its outermost operation binds."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return (str(int(value)) if value == int(value) else str(value)), _WHOLE
        case ast.Name(id=name):
            known = names.get(name)
            return (known.words, _WHOLE) if known is not None and known.letter else None
        case ast.Attribute(value=ast.Name(id="math"), attr=attr) if attr in _CONSTANTS:
            return _CONSTANTS[attr], _WHOLE
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _write(operand, names)
            return None if inner is None else (f"-{_at_least(inner, 3)}", 1)
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            sides = _write(left, names), _write(right, names)
            if sides[0] is None or sides[1] is None:
                return None
            return f"⌊{_at_least(sides[0], 2)} ÷ {_at_least(sides[1], 3)}⌋", _WHOLE
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=exponent)) if exponent == _ROOT_POWER:
            return _root(left, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            return _operation(left, op, right, names)
        case ast.Call(args=[inside]) if called(node) == "sqrt":
            return _root(inside, names)
        case ast.Call(args=[left, right]) if called(node) == "pow":
            return _operation(left, ast.Pow(), right, names)
        case ast.Call(args=[inside]) if called(node) == "float":
            return _write(inside, names)
        case ast.Call(args=[inside]) if called(node) in ("int", "floor"):
            return _whole_part(inside, names)
    return None


def _operation(left: ast.expr, op: ast.operator, right: ast.expr, names: Mapping[str, Name]) -> tuple[str, int] | None:
    first, second = _write(left, names), _write(right, names)
    if first is None or second is None:
        return None
    sign, level = _SIGNS[type(op)]
    if isinstance(op, ast.Mult) and first == second and first[1] == _WHOLE and first[0].isalpha():
        return f"{first[0]}²", 4
    if isinstance(op, ast.Pow):
        exponent = {"2": "²", "3": "³"}.get(second[0])
        base = _at_least(first, 5)
        return (f"{base}{exponent}" if exponent else f"{base}^{_at_least(second, 5)}"), level
    loose = level + (0 if isinstance(op, ast.Add | ast.Mult) else 1)
    tight_first = level + (isinstance(op, ast.Mod))
    return f"{_at_least(first, tight_first)} {sign} {_at_least(second, max(loose, level + (level == 2)))}", level


def _root(inside: ast.expr, names: Mapping[str, Name]) -> tuple[str, int] | None:
    inner = _write(inside, names)
    return None if inner is None else (f"√{_at_least(inner, 5)}", _WHOLE)


def _whole_part(inside: ast.expr, names: Mapping[str, Name]) -> tuple[str, int] | None:
    inner = _write(inside, names)
    if inner is None or (inner[1] == _WHOLE and not inner[0].startswith("√")):
        return inner
    return f"⌊{inner[0]}⌋", _WHOLE


def _at_least(written: tuple[str, int], level: int) -> str:
    return written[0] if written[1] >= level else f"({written[0]})"
