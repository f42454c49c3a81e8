"""Says comprehensions in English, and names what they go through: "for each number of the list, that number"."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.names import Name, item_noun
from tracelift_ray.dataset.code_rules.ranges import is_range, span
from tracelift_ray.dataset.code_rules.shapes import NUMBER, UNKNOWN, Shape, bound_shapes, called
from tracelift_ray.dataset.code_rules.words import bracketed, ordinal, plural
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases


class LoopWords:
    """Words for comprehensions, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases

    def value(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> str:
        with self.phrases.scope():
            loops = [self.clause(each) for each in node.generators]
            if isinstance(node, ast.DictComp):
                entry = f"{self.phrases.value(node.key)} with the value {self.phrases.value(node.value)}"
                return f"a dictionary that holds, {', '.join(loops)}, {entry}"
            noun = "set" if isinstance(node, ast.SetComp) else "list"
            only = node.generators[0]
            if len(loops) == 1 and ast.dump(node.elt).replace("Load", "Store") == ast.dump(only.target):
                return self._kept(only, noun)
            alike = self._alike(node.elt, only) if noun == "list" and len(loops) == 1 else None
            return alike or f"the {noun} that holds, {', '.join(loops)}, {self.phrases.value(node.elt)}"

    def _alike(self, part: ast.expr, only: ast.comprehension) -> str | None:
        """A list of equal entries, or a table of them, by its size; None for other lists."""
        match only:
            case ast.comprehension(iter=ast.Call(func=ast.Name(id="range"), args=[rows]), ifs=[]):
                if isinstance(part, ast.Constant):
                    return f"a list of {bracketed(self.phrases.value(rows))} entries, each {self.phrases.value(part)}"
                columns = self._columns(part)
                if columns is not None:
                    width, filling = columns
                    size = (
                        f"{bracketed(self.phrases.value(rows))} rows and {bracketed(self.phrases.value(width))} columns"
                    )
                    return f"a table of {size}, filled with {self.phrases.value(filling)}"
        return None

    def _columns(self, row: ast.expr) -> tuple[ast.expr, ast.expr] | None:
        """How wide a row of equal entries is, and what its entries are."""
        match row:
            case ast.BinOp(left=ast.List(elts=[ast.Constant() as filling]), op=ast.Mult(), right=width):
                return width, filling
            case ast.ListComp(
                elt=ast.Constant() as filling,
                generators=[ast.comprehension(iter=ast.Call(func=ast.Name(id="range"), args=[width]), ifs=[])],
            ):
                return width, filling
        return None

    def _kept(self, only: ast.comprehension, noun: str) -> str:
        start = "the list" if noun == "list" else "the set"
        if is_range(only.iter):
            return f"{start} of {self._every(self.clause(only))}"
        items = plural(self._item(only.target))
        whole = self.phrases.value(only.iter)
        if not only.ifs:
            return f"the {items} of {whole}" if noun == "list" else f"the set of the {items} of {whole}"
        tests = " and ".join(self.phrases.condition(test) for test in only.ifs)
        return f"{start} of every {self._item(only.target)} of {whole} for which {tests}"

    def _every(self, clause: str) -> str:
        return clause.replace("for each", "every", 1)

    def _item(self, target: ast.expr) -> str:
        return self.phrases.names[target.id].noun if isinstance(target, ast.Name) else "pair"

    def clause(self, loop: ast.comprehension) -> str:
        """``for each number of the list for which …``; binds the names of the loop."""
        words = self.bind(loop.target, loop.iter)
        tests = " and ".join(self.phrases.condition(test) for test in loop.ifs)
        return f"for each {words}" + (f" for which {tests}" if tests else "")

    def bind(self, target: ast.expr, iterated: ast.expr) -> str:
        """Names what a comprehension or lambda binds, as "that number"; returns ``number of the list``."""
        if is_range(iterated):
            if not isinstance(target, ast.Name):
                raise Refused("no words for a comprehension")
            taken = {name.words for name in self.phrases.names.values()}
            letter = next((each for each in "ijkuv" if each not in taken), None)
            if letter is None:
                raise Refused("the reference program has many numbers")
            words = span(self.phrases, iterated, letter)
            self.phrases.names[target.id] = Name(letter, True, NUMBER, "number", "loop")
            return words
        whole = self.phrases.value(iterated)
        shapes = bound_shapes(target, iterated, {name: known.shape for name, known in self.phrases.names.items()})
        if isinstance(target, ast.Name) and self.phrases.shape(iterated).kind == "dictionary":
            self.phrases.names[target.id] = self._that("key", UNKNOWN)
            return f"key of {whole}"
        if isinstance(target, ast.Name):
            noun = (
                "character"
                if self.phrases.shape(iterated).kind in ("text", "character")
                else item_noun(shapes.get(target.id, UNKNOWN))
            )
            self.phrases.names[target.id] = self._that(noun, shapes.get(target.id, UNKNOWN))
            return f"{noun} of {whole}"
        numbered = isinstance(iterated, ast.Call) and called(iterated) == "enumerate"
        if isinstance(target, ast.Tuple) and all(isinstance(part, ast.Name) for part in target.elts):
            if numbered and isinstance(iterated, ast.Call):
                return self._numbered(target, iterated.args[0], shapes)
            for at, part in enumerate(target.elts):
                assert isinstance(part, ast.Name)
                shape = shapes.get(part.id, UNKNOWN)
                self.phrases.names[part.id] = Name(
                    f"its {ordinal(at)} part", False, shape, f"{ordinal(at)} part", "loop"
                )
            return f"{'pair' if len(target.elts) == 2 else 'tuple'} of {whole}"
        raise Refused("no words for a comprehension")

    def _numbered(self, target: ast.Tuple, whole: ast.expr, shapes: Mapping[str, Shape]) -> str:
        position, part = target.elts
        assert isinstance(position, ast.Name) and isinstance(part, ast.Name)
        noun = (
            "character"
            if self.phrases.shape(whole).kind in ("text", "character")
            else item_noun(shapes.get(part.id, UNKNOWN))
        )
        self.phrases.names[position.id] = Name("that position", False, NUMBER, "position", "loop")
        self.phrases.names[part.id] = Name(f"the {noun} there", False, shapes.get(part.id, UNKNOWN), noun, "loop")
        return f"position of {self.phrases.value(whole)}"

    def _that(self, noun: str, shape: Shape) -> Name:
        taken = {name.words for name in self.phrases.names.values()}
        words = next((w for w in (f"that {noun}", f"this {noun}") if w not in taken), None)
        if words is None:
            raise Refused("a comprehension nests deeply")
        return Name(words, False, shape, noun, "loop")
