"""Says calls of the standard library in English: ``sorted(x)`` is "the list in ascending order".

One table holds the calls that take their arguments one by one; what depends on more has a method. Calls that are in
neither are refused by name.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.call_tests import CallTests, literal_pattern
from tracelift_ray.dataset.code_rules.library import MODULES, OF_NONE, OF_ONE, OF_THREE, OF_TWO
from tracelift_ray.dataset.code_rules.names import Name, item_noun
from tracelift_ray.dataset.code_rules.orders import OrderWords, with_article
from tracelift_ray.dataset.code_rules.patterns import pattern_words
from tracelift_ray.dataset.code_rules.shapes import called
from tracelift_ray.dataset.code_rules.words import bracketed, listed
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases

#: Words from which on a phrase is set off by a comma.
_LONG = 6


class CallWords:
    """Words for calls, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases
        self.orders = OrderWords(phrases)
        self._tests = CallTests(phrases)

    def value(self, node: ast.Call) -> str:
        """A call as a noun phrase. Raises Refused."""
        name = called(node)
        if isinstance(node.func, ast.Name) and name in self.phrases.functions:
            return self._own(node, name)
        special: Callable[[ast.Call], str] | None = {
            "len": self._length, "max": self._extreme, "min": self._extreme, "sorted": self.orders.sorted,
            "int": self._whole, "list": self._as_list, "tuple": self._as_list, "map": self._mapped,
            "filter": self._filtered, "zip": self._zipped, "join": self._joined, "range": self._range,
            "sub": self._substituted, "findall": self._found, "defaultdict": self._default, "next": self._next,
            "split": self._split, "str": self._text,
            "nlargest": self._of_heap, "nsmallest": self._of_heap, "sum": self._sum,
        }.get(name)  # fmt: skip
        if special is not None:
            return special(node)
        said = self._tests.condition(node)
        if said is not None:
            return f"whether {said}"
        return self._by_table(node, name)

    def _by_table(self, node: ast.Call, name: str) -> str:
        if node.keywords:
            raise Refused("no words for the options of a call")
        arguments = list(node.args)
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") not in MODULES:
            arguments.insert(0, node.func.value)
        table = {0: OF_NONE,
                 1: OF_ONE, 2: OF_TWO, 3: OF_THREE}.get(len(arguments), {})  # fmt: skip
        template = table.get(name)
        if template is None:
            raise Refused("no words for a call")
        return template.format(*(self._argument(argument) for argument in arguments))

    def _argument(self, node: ast.expr) -> str:
        """An argument as it stands inside a phrase."""
        words = self.phrases.value(node)
        return bracketed(words) if isinstance(node, ast.BinOp) else words

    def _own(self, node: ast.Call, name: str) -> str:
        """A call of the program's own function: the same problem for other values, or the helper's result."""
        said = [self.phrases.value(argument) for argument in node.args]
        if self.phrases.functions[name]:
            return f"{self.phrases.functions[name]} for {listed([bracketed(each) for each in said])}"
        changes = [
            f"{bracketed(new)} in place of {self.phrases.name(old)}"
            for old, new in zip(self.phrases.inputs, said, strict=False)
            if new != self.phrases.name(old)
        ]
        if not changes or node.keywords:
            raise Refused("no words for a recursive call")
        return f"the answer to the same problem with {listed(changes)}"

    def _text(self, node: ast.Call) -> str:
        if not node.args:
            return self._by_table(node, "str")
        words = self.phrases.value(node.args[0])
        return f"{words}, all written as text" if len(words.split()) > _LONG else f"{words} written as text"

    def _length(self, node: ast.Call) -> str:
        return f"the length of {self.phrases.value(node.args[0])}"

    def _sum(self, node: ast.Call) -> str:
        match node.args:
            case [ast.GeneratorExp(elt=part, generators=[loop]) | ast.ListComp(elt=part, generators=[loop])]:
                with self.phrases.scope():
                    words = self.phrases.clause(loop)
                    if isinstance(part, ast.Constant) and part.value == 1:
                        return f"the number of cases, counted {words}"
                    return f"the sum, over {words.removeprefix('for ')}, of {self.phrases.value(part)}"
        return self._by_table(node, "sum")

    def _extreme(self, node: ast.Call) -> str:
        word = "largest" if called(node) == "max" else "smallest"
        key = self.orders.key(node)
        match node.args:
            case [ast.GeneratorExp(elt=part, generators=[loop]) | ast.ListComp(elt=part, generators=[loop])] if not key:
                with self.phrases.scope():
                    over = self.phrases.clause(loop).removeprefix("for ")
                    return f"the {word} value, over {over}, of {self.phrases.value(part)}"
        if len(node.args) == 1:
            noun = item_noun(self.phrases.shape(node.args[0]).items)
            noun = "value" if noun == "element" else noun
            if key:
                return f"the {noun} of {self.phrases.value(node.args[0])} with the {word} {key}"
            return f"the {word} {noun} of {self.phrases.value(node.args[0])}"
        if key:
            raise Refused("no words for the options of a call")
        return (
            f"the {'larger' if word == 'largest' else 'smaller'} of {listed(self._all(node))}"
            if len(node.args) == 2
            else f"the {word} of {listed(self._all(node))}"
        )

    def _all(self, node: ast.Call) -> list[str]:
        return [bracketed(self.phrases.value(argument)) for argument in node.args]

    def _whole(self, node: ast.Call) -> str:
        if len(node.args) != 1:
            return self._by_table(node, "int")
        words = self.phrases.value(node.args[0])
        shape = self.phrases.shape(node.args[0])
        return (
            f"the number that {bracketed(words)} spells"
            if shape.kind in ("text", "character")
            else f"the whole part of {bracketed(words)}"
        )

    def _as_list(self, node: ast.Call) -> str:
        if not node.args:
            return f"an empty {called(node)}"
        inner = node.args[0]
        words = self.phrases.value(inner)
        if called(node) == "tuple" and self.phrases.shape(inner).kind != "tuple":
            return f"{words}, as a tuple"
        if isinstance(inner, ast.Name) and self.phrases.shape(inner).kind == "text":
            return f"the characters of {words}"
        return words

    def _mapped(self, node: ast.Call) -> str:
        match node.args:
            case [ast.Lambda(args=args, body=body), *wholes] if len(args.args) == len(wholes):
                return self._applied(args, body, wholes)
            case [ast.Name(id=name), whole] if name in (
                "int",
                "str",
                "float",
                "list",
                "tuple",
                "set",
                "len",
                "sum",
                "max",
                "sorted",
                "round",
                "abs",
            ):
                argument = ast.Name(id="each value", ctx=ast.Load())
                with self.phrases.scope():
                    shape = self.phrases.shape(whole).items
                    noun = item_noun(shape)
                    self.phrases.names["each value"] = Name(f"that {noun}", False, shape, noun, "loop")
                    part = self.phrases.value(ast.Call(func=node.args[0], args=[argument], keywords=[]))
                    return f"the list that holds, for each {noun} of {self.phrases.value(whole)}, {part}"
        raise Refused("no words for a mapped function")

    def _applied(self, args: ast.arguments, body: ast.expr, wholes: list[ast.expr]) -> str:
        with self.phrases.scope():
            if len(wholes) == 1:
                words = self.phrases.bind(ast.Name(id=args.args[0].arg, ctx=ast.Store()), wholes[0])
                return f"the list that holds, for each {words}, {self.phrases.value(body)}"
            said = [self.phrases.value(whole) for whole in wholes]
            for argument, whole, words in zip(args.args, wholes, said, strict=True):
                shape = self.phrases.shape(whole).items
                self.phrases.names[argument.arg] = Name(f"the value in {words}", False, shape, "value", "loop")
            return f"the list that holds, for each position in {listed(said)}, {self.phrases.value(body)}"

    def _filtered(self, node: ast.Call) -> str:
        match node.args:
            case [ast.Lambda(args=args, body=test), whole] if len(args.args) == 1:
                with self.phrases.scope():
                    words = self.phrases.bind(ast.Name(id=args.args[0].arg, ctx=ast.Store()), whole)
                    return f"the list of every {words} for which {self.phrases.condition(test)}"
        raise Refused("no words for a filter")

    def _zipped(self, node: ast.Call) -> str:
        return (
            f"the pairs of {listed(self._all(node))}"
            if len(node.args) == 2
            else f"the tuples of {listed(self._all(node))}"
        )

    def _joined(self, node: ast.Call) -> str:
        assert isinstance(node.func, ast.Attribute)
        words = self.phrases.value(node.args[0])
        match node.func.value:
            case ast.Constant(value=""):
                return f"the string that joins {words}"
        return f"the string that joins, with {self.phrases.value(node.func.value)} in between, {words}"

    def _range(self, node: ast.Call) -> str:
        words = self.phrases.span(node, "").strip()
        return (
            f"the positions{words.removeprefix('position ')}"
            if words.startswith("position")
            else f"the numbers {words}"
        )

    def _substituted(self, node: ast.Call) -> str:
        if len(node.args) != 3 or node.keywords:
            raise Refused("no words for the options of a call")
        pattern, new, text = node.args
        words = pattern_words(literal_pattern(pattern))
        if isinstance(new, ast.Constant) and new.value == "":
            return f"{self.phrases.value(text)} with every occurrence of {words} removed"
        if isinstance(new, ast.Constant) and isinstance(new.value, str) and "\\" in new.value:
            raise Refused("no words for a replacement with groups")
        return f"{self.phrases.value(text)} with every occurrence of {words} replaced by {self.phrases.value(new)}"

    def _found(self, node: ast.Call) -> str:
        if len(node.args) != 2:
            raise Refused("no words for the options of a call")
        return (
            f"all occurrences of {pattern_words(literal_pattern(node.args[0]))} in {self.phrases.value(node.args[1])}"
        )

    def _default(self, node: ast.Call) -> str:
        kind = getattr(node.args[0], "id", "") if node.args else ""
        starts = {"int": "0", "list": "an empty list", "set": "an empty set"}.get(kind)
        if starts is None:
            raise Refused("no words for a default")
        return f"an empty lookup table whose entries start as {starts}"

    def _next(self, node: ast.Call) -> str:
        match node.args:
            case [ast.GeneratorExp(elt=part, generators=[loop]), *rest]:
                with self.phrases.scope():
                    words = self.phrases.clause(loop).removeprefix("for each ")
                    said = self.phrases.value(part)
                other = f", or {self.phrases.value(rest[0])} where there is none" if rest else ""
                return f"{said}, for the first {words}{other}"
        raise Refused("no words for a call")

    def _split(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "re":
            return (
                f"the parts of {self.phrases.value(node.args[1])} around {pattern_words(literal_pattern(node.args[0]))}"
            )
        if not node.args and isinstance(node.func, ast.Attribute):
            return f"the words of {self.phrases.value(node.func.value)}"
        return self._by_table(node, "split")

    def _of_heap(self, node: ast.Call) -> str:
        key = self.orders.key(node)
        words = self._by_table(ast.Call(func=node.func, args=node.args, keywords=[]), called(node))
        return f"{words} by {with_article(key)}" if key else words

    def plain_name(self, node: ast.expr) -> str:
        """A constant of a module."""
        match node:
            case ast.Attribute(value=ast.Name(id="sys"), attr="maxsize" | "maxint"):
                return "a very large number"
            case ast.Attribute(attr="pi"):
                return "π"
        raise Refused("no words for an attribute or function value")
