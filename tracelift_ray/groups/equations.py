"""Finds and changes the arithmetic written in a worked solution, such as ``48/2 = 24`` or ``0.2 x 50 = $10``.

Only equations that hold are found: an expression of plain numbers, an equals sign, and the expression's value, or
``?`` where the result is withheld.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\d])")
_EQUATION = re.compile(r"(?P<left>[($]*\d[\d.,$()\s+*/x\u00d7\u00f7-]*)=\s*\$?(?P<result>\d[\d,]*(?:\.\d+)?|\?)")
WITHHELD = "?"
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_PLAIN = str.maketrans({"$": None, ",": None, "x": "*", "\u00d7": "*", "\u00f7": "/"})  # the signs times and divided by
_MAX_DIGITS = 12


@dataclass(frozen=True)
class Equation:
    """One equation of a line: the characters ``[start, end)`` of its left side and of its result, and its value."""

    left: tuple[int, int]
    result: tuple[int, int]
    value: Fraction
    withheld: bool  # ``?`` stands for the result


def find_equations(line: str) -> list[Equation]:
    """The equations of a line that hold, from left to right."""
    found = []
    for match in _EQUATION.finditer(line):
        value, withheld = evaluate(match["left"]), match["result"] == WITHHELD
        if value is not None and (withheld or value == read_number(match["result"])):
            found.append(Equation(match.span("left"), match.span("result"), value, withheld))
    return found


def evaluate(expression: str) -> Fraction | None:
    """The value of an expression of numbers and + - * / in their usual signs; None for anything else."""
    plain = expression.translate(_PLAIN).strip()
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, MemoryError, RecursionError):
        return None
    return _value(tree) if isinstance(tree, ast.BinOp) else None


def read_number(text: str) -> Fraction | None:
    """A written number, thousands separated by commas or not; None for what is none, or is absurdly long."""
    plain = text.replace(",", "")
    return Fraction(plain) if plain and len(plain) <= _MAX_DIGITS else None


def write_number(value: Fraction) -> str | None:
    """A number as people write it: whole, or with up to two decimals; None for one that needs more or is negative."""
    if value < 0 or (value * 100).denominator != 1 or value >= 10**9:
        return None
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.2f}".rstrip("0")


def numbers_of(text: str) -> set[Fraction]:
    """All numbers written in a text."""
    values = (read_number(match.group()) for match in NUMBER.finditer(text))
    return {value for value in values if value is not None}


def replace_numbers(text: str, changes: Mapping[Fraction, str]) -> str:
    """The text with every number that is a key of ``changes`` written as its new value."""

    def changed(match: re.Match[str]) -> str:
        value = read_number(match.group())
        return match.group() if value is None else changes.get(value, match.group())

    return NUMBER.sub(changed, text)


def _value(node: ast.expr) -> Fraction | None:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return read_number(str(node.value)) if "e" not in str(node.value) else None
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATORS:
        return None
    left, right = _value(node.left), _value(node.right)
    if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
        return None
    return _OPERATORS[type(node.op)](left, right)
