"""Says operations and literals of several parts in English, where they are no formula."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.shapes import called
from tracelift_ray.dataset.code_rules.words import bracketed, listed, power
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases

_BITS: dict[type[ast.operator], str] = {ast.BitAnd: "AND", ast.BitOr: "OR", ast.BitXor: "XOR"}
_SET_WORDS: dict[type[ast.operator], str] = {
    ast.BitAnd: "the values that {} and {} share",
    ast.BitOr: "the values of {} and {} together",
    ast.BitXor: "the values that are in exactly one of {} and {}",
    ast.Sub: "the values of {} that are not in {}",
}
_MAX_LISTED = 6


class OperationWords:
    """Words for operations and literals, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases

    def value(self, node: ast.BinOp) -> str:
        left, right = self.phrases.shape(node.left), self.phrases.shape(node.right)
        if type(node.op) in _SET_WORDS and "set" in (left.kind, right.kind):
            return _SET_WORDS[type(node.op)].format(*(self._of_set(side) for side in (node.left, node.right)))
        if isinstance(node.op, ast.Mult) and (
            isinstance(node.left, ast.List) or left.kind in ("list", "text", "character")
        ):
            return self._repeated(node.left, node.right)
        if isinstance(node.op, ast.Add) and {left.kind, right.kind} & {"list", "text", "tuple", "character"}:
            return f"{self.phrases.value(node.left)} followed by {self.phrases.value(node.right)}"
        if isinstance(node.op, ast.Mod) and left.kind in ("text", "character"):
            raise Refused("no words for a text template")
        return self._arithmetic(node)

    def _of_set(self, node: ast.expr) -> str:
        """What the values of a set are the values of."""
        is_made = isinstance(node, ast.Call) and called(node) == "set" and len(node.args) == 1
        return self.phrases.value(node.args[0] if is_made and isinstance(node, ast.Call) else node)

    def _arithmetic(self, node: ast.BinOp) -> str:
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=ast.Constant(value=1)):
                return f"one {'more' if isinstance(op, ast.Add) else 'less'} than {self.phrases.value(left)}"
            case ast.BinOp(left=ast.Constant(value=2), op=ast.Mult(), right=right):
                return f"twice {bracketed(self.phrases.value(right))}"
            case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=2)):
                return f"twice {bracketed(self.phrases.value(left))}"
            case ast.BinOp(left=left, op=ast.Mult(), right=right) if ast.dump(left) == ast.dump(right):
                return power(bracketed(self.phrases.value(left)), 2)
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as exponent)):
                return power(bracketed(self.phrases.value(left)), exponent)
        first, second = bracketed(self.phrases.value(node.left)), bracketed(self.phrases.value(node.right))
        match node.op:
            case ast.Add():
                return self.phrases.style.pick("plus", f"{first} plus {second}", f"the sum of {first} and {second}")
            case ast.Sub():
                return f"{first} minus {second}"
            case ast.Mult():
                return self.phrases.style.pick(
                    "times", f"{first} times {second}", f"the product of {first} and {second}"
                )
            case ast.Div():
                return f"{first} divided by {second}"
            case ast.FloorDiv():
                return f"the whole part of {first} divided by {second}"
            case ast.Mod():
                return f"the remainder of {first} divided by {second}"
            case ast.Pow():
                return f"{first} to the power of {second}"
            case ast.LShift():
                return f"{first} shifted left by {_bits(second)}"
            case ast.RShift():
                return f"{first} shifted right by {_bits(second)}"
        return f"the bitwise {_BITS[type(node.op)]} of {first} and {second}"

    def _repeated(self, what: ast.expr, count: ast.expr) -> str:
        if isinstance(what, ast.List) and len(what.elts) == 1:
            return f"a list of {bracketed(self.phrases.value(count))} entries, each {self.phrases.value(what.elts[0])}"
        return f"{self.phrases.value(what)} repeated {bracketed(self.phrases.value(count))} times"

    def collected(self, node: ast.expr, parts: Sequence[ast.expr]) -> str:
        noun = {ast.List: "list", ast.Tuple: "tuple", ast.Set: "set"}[type(node)]
        if not parts:
            return f"an empty {noun}"
        if len(parts) > _MAX_LISTED:
            raise Refused("a literal has very many parts")
        said = [self.phrases.value(part) for part in parts]
        if any("," in each for each in said) and len(said) > 1:
            raise Refused("a literal has parts that cannot be told apart in a sentence")
        if isinstance(node, ast.Tuple) and len(parts) == 2:
            return f"the pair of {said[0]} and {said[1]}"
        return f"a {noun} of just {said[0]}" if len(said) == 1 else f"the {noun} of {listed(said)}"


def _bits(count: str) -> str:
    if count == "1":
        return "one bit"
    return f"{count} bits" if len(count) < 3 else f"as many bits as {count} says"
