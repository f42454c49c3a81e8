"""Says in English what a sort or a choice goes by: "sorted in descending order of second part"."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.names import Name, item_noun
from tracelift_ray.dataset.code_rules.shapes import Shape, called
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases

_KEY_WORDS = {"len": "length", "sum": "sum", "abs": "absolute value", "int": "value as a number", "str": "text"}

_BARE = re.compile(r"(?:[\w-]+ )?part\b|(?:value|length|sum|absolute value|text)\b")


class OrderWords:
    """Words for orders, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases

    def key(self, node: ast.Call) -> str:
        """What a sort or a choice goes by; empty where by the values themselves."""
        words = ""
        for keyword in node.keywords:
            if keyword.arg == "reverse":
                continue
            if keyword.arg != "key":
                raise Refused("no words for the options of a call")
            words = self._key_words(keyword.value, self._sorted_items(node))
        return words

    def _sorted_items(self, node: ast.Call) -> Shape:
        """The shape of what is ordered or chosen from."""
        whole: ast.expr = node.args[-1] if node.args else node.func.value  # type: ignore[attr-defined]
        return self.phrases.shape(whole).items

    def _key_words(self, key: ast.expr, items: Shape) -> str:
        """What a function of one value computes: ``second part``, ``length``, else in full with its owner."""
        match key:
            case ast.Name(id=name) if name in _KEY_WORDS:
                return _KEY_WORDS[name]
            case ast.Name(id=name) if self.phrases.functions.get(name):
                return self.phrases.functions[name]
            case ast.Lambda(args=args, body=ast.Subscript(value=ast.Name(id=whole), slice=place)) if (
                len(args.args) == 1
                and args.args[0].arg == whole
                and (word := self.phrases.place(place, ast.Name(id=whole, ctx=ast.Load()))) is not None
            ):
                return f"{word} part"
            case ast.Lambda(
                args=args, body=ast.Subscript(value=ast.Name(id=whole), slice=ast.Constant(value=str(entry)))
            ) if len(args.args) == 1 and args.args[0].arg == whole:
                return f'value under "{entry}"'
            case ast.Call(args=[place]) if called(key) == "itemgetter":
                word = self.phrases.place(place, key)
                return f"{word} part" if word is not None else f"part at position {self.phrases.value(place)}"
            case ast.Lambda(args=args, body=ast.Call(func=ast.Name(id=name), args=[ast.Name(id=whole)])) if (
                len(args.args) == 1 and args.args[0].arg == whole and name in _KEY_WORDS
            ):
                return _KEY_WORDS[name]
            case ast.Attribute(attr="get", value=table):
                return f"value in {self.phrases.value(table)}"
            case ast.Lambda(args=args, body=body) if len(args.args) == 1:
                with self.phrases.scope():
                    noun = item_noun(items)
                    self.phrases.names[args.args[0].arg] = Name(f"that {noun}", False, items, noun, "loop")
                    return self.phrases.value(body)
        raise Refused("no words for a sort key")

    def sorted(self, node: ast.Call) -> str:
        """A call of ``sorted`` as a noun phrase."""
        words = self.phrases.value(node.args[0])
        return f"{words} {self.order(node)}"

    def order(self, node: ast.Call) -> str:
        """How ``sorted`` or ``sort`` orders: ``in descending order of second part``."""
        falling = any(k.arg == "reverse" and getattr(k.value, "value", False) is True for k in node.keywords)
        word = "descending" if falling else "ascending"
        key = self.key(node)
        return f"sorted in {word} order" + (f" of {with_article(key)}" if key else "")


def with_article(key: str) -> str:
    """What a sort goes by, with its article where it is a bare noun such as ``second part``."""
    return f"the {key}" if _BARE.match(key) else key
