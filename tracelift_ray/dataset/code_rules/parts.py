"""Says parts of values in English: ``x[-1]`` is "the last element of the list"."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.words import ordinal, plural
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases

_PLACES = 6


class PartWords:
    """Words for subscripts, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases

    def value(self, node: ast.Subscript) -> str:
        whole, shape = node.value, self.phrases.shape(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._slice(node.value, node.slice)
        if isinstance(whole, ast.Subscript) and not isinstance(whole.slice, ast.Slice):
            outer = self.phrases.shape(whole.value)
            if outer.kind in ("list", "unknown") and shape.kind in ("list", "unknown"):
                row, column = self.phrases.value(whole.slice), self.phrases.value(node.slice)
                return f"the entry of {self.phrases.value(whole.value)} in row {row}, column {column}"
        if shape.kind == "dictionary":
            return f"the value that {self.phrases.value(whole)} has for {self.phrases.value(node.slice)}"
        noun = "character" if shape.kind in ("text", "character") else "entry" if shape.kind == "unknown" else "element"
        place = self.place(node.slice, whole)
        if place is not None:
            return f"the {place} {noun} of {self.phrases.value(whole)}"
        return f"the {noun} of {self.phrases.value(whole)} at position {self.phrases.value(node.slice)}"

    def place(self, index: ast.expr, whole: ast.expr) -> str | None:
        """``first`` for 0, ``last`` for -1 and for one less than the length; None for other places."""
        match index:
            case ast.Constant(value=int() as at) if 0 <= at < _PLACES:
                return ordinal(at)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):
                return "last"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=2)):
                return "second-to-last"
            case ast.BinOp(
                left=ast.Call(func=ast.Name(id="len"), args=[of]), op=ast.Sub(), right=ast.Constant(value=1)
            ):
                return "last" if ast.dump(of) == ast.dump(whole) else None
        return None

    def _slice(self, whole: ast.expr, part: ast.Slice) -> str:
        words = self.phrases.value(whole)
        noun = plural("character" if self.phrases.shape(whole).kind in ("text", "character") else "element")
        match part:
            case ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
                return f"{words} in reverse order"
            case ast.Slice(lower=None, upper=None, step=None):
                return f"a copy of {words}"
            case ast.Slice(lower=None, upper=None, step=ast.expr() as step):
                return f"every {self._nth(step)} of the {noun} of {words}, from the first on"
            case ast.Slice(lower=ast.Constant(value=int() as start), upper=None, step=ast.Constant(value=2)):
                return f"every second of the {noun} of {words}, from the {ordinal(start)} on"
            case ast.Slice(lower=None, upper=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)), step=None):
                return f"{words} without its last {noun[:-1]}"
            case ast.Slice(lower=None, upper=ast.Constant(value=1), step=None):
                return f"the first {noun[:-1]} of {words}"
            case ast.Slice(lower=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)), upper=None, step=None):
                return f"the last {noun[:-1]} of {words}"
            case ast.Slice(lower=None, upper=ast.UnaryOp(op=ast.USub(), operand=count), step=None):
                return f"{words} without its last {self.phrases.value(count)} {noun}"
            case ast.Slice(lower=None, upper=ast.expr() as end, step=None):
                size = self.phrases.value(end)
                long = size.startswith(("the ", "one ", "twice "))
                return f"the beginning of {words}, {size} long" if long else f"the first {size} {noun} of {words}"
            case ast.Slice(lower=ast.Constant(value=1), upper=None, step=None):
                return f"{words} without its first {noun[:-1]}"
            case ast.Slice(lower=ast.UnaryOp(op=ast.USub(), operand=count), upper=None, step=None):
                return f"the last {self.phrases.value(count)} {noun} of {words}"
            case ast.Slice(lower=ast.expr() as start, upper=None, step=None):
                return f"the part of {words} from position {self.phrases.value(start)} to its end"
            case ast.Slice(lower=ast.expr() as start, upper=ast.expr() as end, step=None):
                start_words, end_words = self.phrases.value(start), self.phrases.value(end)
                return f"the part of {words} from position {start_words} up to but not including position {end_words}"
        raise Refused("no words for a slice")

    def _nth(self, step: ast.expr) -> str:
        if isinstance(step, ast.Constant) and isinstance(step.value, int) and step.value > 1:
            return ordinal(step.value - 1)
        return f"{self.phrases.value(step)}th"
