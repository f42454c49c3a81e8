"""Finds and changes the arithmetic written in a worked solution, such as ``48/2 = 24`` or ``7 votes * 3 = 21 votes``.

Only equations that hold are found: an expression of numbers, units aside, an equals sign, and the expression's value,
or ``?`` where the result is withheld. Numbers are written back in the form of those that they replace.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

WITHHELD = "?"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
#: A number on its own, or beside the x of ``5x3``; not part of a word, such as 2nd.
NUMBER = re.compile(rf"(?:(?<![\w.])|(?<=\dx))(?:{_DIGITS})(?!(?!x\d)\w|\.\d)")
_SIGNS = "-+*/x\u00d7\u00f7\u2212\u2013"  # times, divided by, minus and a dash beside the plain ones
_UNIT = r"(?:\s+(?!x\s*[\d($])[A-Za-z][A-Za-z'/-]*){0,6}"
_TERM = rf"[($]*(?:{_DIGITS})%?\)*{_UNIT}"
_EQUATION = re.compile(
    rf"(?<![\w.$])(?P<left>{_TERM}(?:\s*[{_SIGNS}]\s*{_TERM})+)\s*=\s*\$?\s*(?P<result>{_DIGITS}|\?)(?![\d.,]*\d)(?P<percent>%?)"
)
_OPERAND = re.compile(rf"(?<![\d.])(?:{_DIGITS})")
_WORD = re.compile(r"(?<![\w$])(?!x\s*[\d($])[A-Za-z][A-Za-z'/-]*")
_PERCENT = re.compile(rf"({_DIGITS})%")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_PLAIN = str.maketrans(
    {"$": None, ",": None, "x": "*", "\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", " ": None}
)
_MAX_DIGITS = 12


@dataclass(frozen=True)
class Equation:
    """One equation of a line.

    Attributes:
        left, result: the characters ``[start, end)`` of the line that its left side and its result take.
        value: of the left side.
        operands: the values of the numbers on the left, from left to right.
        withheld: ``?`` stands for the result.
    """

    left: tuple[int, int]
    result: tuple[int, int]
    value: Fraction
    operands: tuple[Fraction, ...]
    withheld: bool


@functools.lru_cache(maxsize=4096)  # the flaws of one trace look at the same lines again and again
def find_equations(line: str) -> tuple[Equation, ...]:
    """The equations of a line that hold, from left to right."""
    found = []
    for match in _EQUATION.finditer(line):
        left, result = match["left"], match["result"]
        value = evaluate(left)
        if value is None or (match["percent"] and "%" in left):
            continue
        if result == WITHHELD or value == read_number(result):
            operands = tuple(read_number(text) or Fraction(0) for text in _OPERAND.findall(left))
            found.append(Equation(match.span("left"), match.span("result"), value, operands, result == WITHHELD))
    return tuple(found)


def evaluate(expression: str) -> Fraction | None:
    """The value of an expression of numbers, units and + - * / in their usual signs; None for anything else."""
    plain = _PERCENT.sub(r"(\1/100)", _WORD.sub("", expression)).translate(_PLAIN)
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", plain)  # Python refuses the leading zero of 007
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, MemoryError, RecursionError, ValueError):
        return None
    return _value(tree) if isinstance(tree, ast.BinOp) else None


@functools.lru_cache(maxsize=16384)
def read_number(text: str) -> Fraction | None:
    """A written number, thousands separated by commas or not; None for what is none, or is absurdly long."""
    plain = text.replace(",", "")
    return Fraction(plain) if re.fullmatch(r"\d*\.?\d+", plain) and len(plain) <= _MAX_DIGITS else None


def write_number(value: Fraction, like: str = "") -> str | None:
    """A number in the form of ``like``: thousands separated as there, two decimals where it has two.

    None for a number that people would not write so: negative, with more than two decimals, or a thousand million.
    """
    if value < 0 or (value * 100).denominator != 1 or value >= 10**9:
        return None
    cents = re.search(r"\.\d\d\Z", like) is not None and value.denominator != 1
    text = str(value.numerator) if value.denominator == 1 else f"{float(value):.2f}"
    if value.denominator != 1 and not cents:
        text = text.rstrip("0")
    whole, dot, decimals = text.partition(".")
    return f"{int(whole):,}{dot}{decimals}" if "," in like else text


def numbers_of(text: str) -> set[Fraction]:
    """All numbers written in a text as digits."""
    values = (read_number(match.group()) for match in NUMBER.finditer(text))
    return {value for value in values if value is not None}


def replace_numbers(text: str, changes: Mapping[Fraction, Fraction]) -> str:
    """The text with every number that is a key of ``changes`` written as its new value."""

    def changed(match: re.Match[str]) -> str:
        value = read_number(match.group())
        new = None if value is None else changes.get(value)
        return match.group() if new is None else write_number(new, match.group()) or match.group()

    return NUMBER.sub(changed, text)


def signs_of(left: str) -> list[int]:
    """Where the operation signs of an equation's left side stand."""
    blanked = _WORD.sub(lambda match: "_" * len(match.group()), left)
    return [at for at, sign in enumerate(blanked) if sign in _SIGNS]


def _value(node: ast.expr) -> Fraction | None:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return read_number(str(node.value)) if "e" not in str(node.value) else None
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATORS:
        return None
    left, right = _value(node.left), _value(node.right)
    if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
        return None
    return _OPERATORS[type(node.op)](left, right)
