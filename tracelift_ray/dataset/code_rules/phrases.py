"""Says the expressions of a reference program in English: values as noun phrases, conditions as clauses.

No program text appears in what is said. An expression that this vocabulary has no good words for is refused, with the
construct as the reason.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator, Mapping

from tracelift_ray.dataset.code_rules.calls import CallWords
from tracelift_ray.dataset.code_rules.conditions import ConditionWords
from tracelift_ray.dataset.code_rules.formulas import formula
from tracelift_ray.dataset.code_rules.loops import LoopWords
from tracelift_ray.dataset.code_rules.names import Name
from tracelift_ray.dataset.code_rules.operations import OperationWords
from tracelift_ray.dataset.code_rules.parts import PartWords
from tracelift_ray.dataset.code_rules.ranges import span
from tracelift_ray.dataset.code_rules.shapes import TRUTH, Shape, shape_of
from tracelift_ray.dataset.code_rules.words import Style, bracketed
from tracelift_ray.dataset.pipeline.stages import Refused


class Phrases:
    """The expressions of one function in one style.

    Args:
        names: the function's variables.
        functions: names of the program's own functions, with what a call of them is called.
    """

    def __init__(self, names: Mapping[str, Name], style: Style, functions: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.style = style
        self.functions = functions
        self.inputs: list[str] = []
        self._calls = CallWords(self)
        self._conditions = ConditionWords(self)
        self._operations = OperationWords(self)
        self._parts = PartWords(self)
        self._loops = LoopWords(self)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Names that are bound inside it are forgotten after it."""
        before = dict(self.names)
        try:
            yield
        finally:
            self.names = before

    def shape(self, node: ast.expr) -> Shape:
        """What an expression holds, as far as it is known."""
        return shape_of(node, {name: known.shape for name, known in self.names.items()})

    def value(self, node: ast.expr) -> str:
        """An expression as a noun phrase. Raises Refused."""
        if not isinstance(node, ast.Name | ast.Constant):
            written = formula(node, self.names)
            if written is not None:
                return written
        match node:
            case ast.Name(id=name):
                return self.name(name)
            case ast.Constant(value=value):
                return self.constant(value)
            case ast.Attribute() | ast.Lambda():
                return self._calls.plain_name(node)
            case ast.BinOp():
                return self._operations.value(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"minus {bracketed(self.value(operand))}"
            case ast.BoolOp(values=values) if not all(self._is_truth(value) for value in values):
                raise Refused("chooses between values by a logical operation")
            case ast.UnaryOp(op=ast.Not()) | ast.Compare() | ast.BoolOp():
                return f"whether {self.condition(node)}"
            case ast.Subscript():
                return self._parts.value(node)
            case ast.IfExp(test=test, body=body, orelse=other):
                return f"{self.value(body)} if {self.condition(test)}, otherwise {self.value(other)}"
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return self._operations.collected(node, parts)
            case ast.Dict(keys=[]):
                return self.style.pick("empty-dict", "an empty dictionary", "an empty lookup table")
            case ast.Call():
                return self._calls.value(node)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self._loops.value(node)
        raise Refused("no words for an expression")

    def _is_truth(self, node: ast.expr) -> bool:
        """Whether an expression is true or false, as far as can be told; calls of the program's own count as such."""
        own = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.functions
        return own or self.shape(node) == TRUTH or isinstance(node, ast.BoolOp | ast.Compare)

    def name(self, name: str) -> str:
        """The words for a variable."""
        known = self.names.get(name)
        if known is None:
            raise Refused("a name has no meaning of its own")
        return known.words

    def constant(self, value: object) -> str:
        """The words for a literal."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return "nothing"
        if isinstance(value, str):
            return self._literal(value)
        if isinstance(value, int | float):
            return f"{value:g}" if isinstance(value, float) else str(value)
        raise Refused("no words for a literal")

    def _literal(self, text: str) -> str:
        named = {"": "an empty string", " ": "a space", "\n": "a line break", ",": "a comma", "_": "an underscore"}
        if text in named:
            return named[text]
        if not text.isprintable() or len(text) > 60:
            raise Refused("no words for a literal")
        return f'"{text}"'

    def condition(self, node: ast.expr) -> str:
        """An expression that is true or false, as a clause. Raises Refused."""
        return self._conditions.condition(node)

    def negated(self, node: ast.expr) -> str:
        """The opposite of a condition, as a clause. Raises Refused."""
        return self._conditions.negated(node)

    def place(self, index: ast.expr, whole: ast.expr) -> str | None:
        """``first`` for 0, ``last`` for -1 and for one less than the length; None for other places."""
        return self._parts.place(index, whole)

    def clause(self, loop: ast.comprehension) -> str:
        """``for each number of the list for which …``; binds the names of the loop. Raises Refused."""
        return self._loops.clause(loop)

    def bind(self, target: ast.expr, iterated: ast.expr) -> str:
        """Names what a comprehension or lambda binds, as "that number"; returns ``number of the list``."""
        return self._loops.bind(target, iterated)

    def span(self, iterated: ast.expr, letter: str) -> str:
        """``i from 1 to n``; ``position i of the list`` for all positions."""
        return span(self, iterated, letter)
