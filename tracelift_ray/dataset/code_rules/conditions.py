"""Says conditions in English, as clauses: ``n % 2 == 0`` is "n is even", ``not x`` its opposite."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.call_tests import CallTests
from tracelift_ray.dataset.code_rules.shapes import CONTAINERS, NUMBER, TRUTH, UNKNOWN, called
from tracelift_ray.dataset.code_rules.words import listed
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases

_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equals",
    ast.NotEq: "differs from",
    ast.Lt: "is less than",
    ast.LtE: "is at most",
    ast.Gt: "is greater than",
    ast.GtE: "is at least",
    ast.In: "occurs in",
    ast.NotIn: "does not occur in",
    ast.Is: "is",
    ast.IsNot: "is not",
}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_MAX_LISTED = 6


class ConditionWords:
    """Words for conditions, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases
        self._tests = CallTests(phrases)

    def condition(self, node: ast.expr) -> str:
        """An expression that is true or false, as a clause. Raises Refused."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._comparison(left, op, right)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                lefts = [left, *rights[:-1]]
                return listed([self._comparison(*each) for each in zip(lefts, ops, rights, strict=True)])
            case ast.BoolOp(op=op, values=values):
                return self._joined(op, values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.negated(operand)
            case ast.Constant(value=True):
                return "nothing has ended it yet"
            case ast.Call():
                said = self._tests.condition(node)
                if said is not None:
                    return said
        return self._truth(node)

    def _truth(self, node: ast.expr) -> str:
        shape = self.phrases.shape(node)
        words = self.phrases.value(node)
        if shape.kind == "number":
            return f"{words} is not zero"
        if shape.kind in CONTAINERS:
            return f"{words} is not empty"
        if isinstance(node, ast.Name) and self.phrases.names[node.id].role == "flag":
            return f"{words} is set"
        return f"{words} is true" if shape == TRUTH else f"{words} is neither empty nor zero"

    def _joined(self, op: ast.boolop, values: Sequence[ast.expr]) -> str:
        joint = "and" if isinstance(op, ast.And) else "or"
        mixed = any(isinstance(value, ast.BoolOp) for value in values)
        clauses = [self.condition(value) for value in values]
        if mixed:
            clauses = [f"({c})" if isinstance(v, ast.BoolOp) else c for c, v in zip(clauses, values, strict=True)]
        if len(clauses) > _MAX_LISTED:
            raise Refused("a condition has very many parts")
        return f" {joint} ".join(clauses) if len(clauses) == 2 else listed(clauses, joint)

    def negated(self, node: ast.expr) -> str:
        """The opposite of a condition, as a clause. Raises Refused."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._comparison(left, _OPPOSITE[type(op)](), right)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.condition(operand)
            case ast.Call() if (said := self._tests.negated(node)) is not None:
                return said
        shape = self.phrases.shape(node)
        words = self.phrases.value(node)
        if shape.kind == "number":
            return f"{words} is zero"
        if shape.kind in CONTAINERS:
            return f"{words} is empty"
        if isinstance(node, ast.Name) and self.phrases.names[node.id].role == "flag":
            return f"{words} is not set"
        return f"{words} is false" if shape == TRUTH else f"{words} is empty or zero"

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        is_equal, is_unequal = isinstance(op, ast.Eq), isinstance(op, ast.NotEq)
        match left, right:
            case ast.BinOp(left=number, op=ast.Mod(), right=divisor), ast.Constant(value=0 | 1 as rest) if (
                is_equal or is_unequal
            ) and self.phrases.shape(number) in (NUMBER, UNKNOWN):
                said = self._divisibility(number, divisor, (rest == 0) == is_equal, rest == 1)
                if said is not None:
                    return said
            case ast.Call(func=ast.Name(id="len"), args=[whole]), ast.Constant(value=0) if is_equal or is_unequal:
                return f"{self.phrases.value(whole)} is {'' if is_equal else 'not '}empty"
            case _, ast.Constant(value=None):
                holds = isinstance(op, ast.Eq | ast.Is)
                return f"{self.phrases.value(left)} is {'' if holds else 'not '}missing"
            case _, ast.Constant(value=bool() as truth) if is_equal or is_unequal:
                return self.condition(left) if truth == is_equal else self.negated(left)
        if isinstance(right, ast.Call) and called(right) == "keys" and isinstance(right.func, ast.Attribute):
            right = right.func.value
        relation = _RELATIONS[type(op)]
        if isinstance(op, ast.In | ast.NotIn) and self.phrases.shape(right).kind == "dictionary":
            relation = "is already a key of" if isinstance(op, ast.In) else "is not yet a key of"
        numeric = NUMBER in (self.phrases.shape(left), self.phrases.shape(right))
        if is_equal:
            relation = self.phrases.style.pick(
                "equals", "equals", "is equal to", "equals" if numeric else "is the same as"
            )
        elif is_unequal:
            relation = self.phrases.style.pick("differs", "differs from", "is not equal to", "is different from")
        return f"{self.phrases.value(left)} {relation} {self.phrases.value(right)}"

    def _divisibility(self, number: ast.expr, divisor: ast.expr, divides: bool, rest_is_one: bool) -> str | None:
        words = self.phrases.value(number)
        if isinstance(divisor, ast.Constant) and divisor.value == 2:
            return f"{words} is {'even' if divides else 'odd'}"
        if rest_is_one:
            return None
        return f"{words} is {'' if divides else 'not '}divisible by {self.phrases.value(divisor)}"
