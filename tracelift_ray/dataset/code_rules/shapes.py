"""What kind of value an expression of a reference program has, as far as that can be told without running it.

Used to choose words: the parts of a text are characters, those of a list of pairs are pairs. What cannot be told is
``UNKNOWN``, which reads as "element" or "value"; nothing here decides what a program means.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A kind of value and, for containers, the shape of what they hold."""

    kind: str  # number | truth | text | character | list | tuple | dictionary | set | unknown
    item: Shape | None = None

    @property
    def items(self) -> Shape:
        """The shape of a part."""
        return self.item or (CHARACTER if self.kind in ("text", "character") else UNKNOWN)


UNKNOWN, NUMBER, TRUTH, TEXT = Shape("unknown"), Shape("number"), Shape("truth"), Shape("text")
CHARACTER = Shape("character")
#: Kinds of values that can be empty.
CONTAINERS = ("list", "text", "character", "tuple", "set", "dictionary")
_TYPES: dict[type, str] = {list: "list", tuple: "tuple", dict: "dictionary", set: "set", frozenset: "set"}
_NUMBER_CALLS = {"len", "sum", "int", "float", "abs", "round", "pow", "ord", "sqrt", "floor", "ceil", "count", "index"}
_TEXT_CALLS = {"str", "join", "replace", "lower", "upper", "strip", "chr", "bin", "sub", "capitalize", "title", "hex"}
_TRUTH_CALLS = {"all", "any", "isinstance", "bool", "isdigit", "isalpha", "startswith", "endswith", "isupper"}
_LIKE_THEIR_ITEMS = {"max", "min", "next"}


def shape_of_value(value: Any) -> Shape:
    """The shape of a Python value; mixed containers hold ``UNKNOWN``."""
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int | float | complex):
        return NUMBER
    if isinstance(value, str):
        return CHARACTER if len(value) == 1 else TEXT
    kind = _TYPES.get(type(value))
    if kind is None:
        return UNKNOWN
    return Shape(kind, common(shape_of_value(part) for part in value) if value else None)


def common(shapes: Iterable[Shape]) -> Shape:
    """What all of some shapes share; an empty container shares what the others hold."""
    found = set(shapes)
    if len(found) == 1:
        return found.pop()
    if found == {TEXT, CHARACTER}:
        return TEXT
    kinds = {shape.kind for shape in found}
    if len(kinds) != 1:
        return UNKNOWN
    held = {shape.item for shape in found if shape.item is not None}
    return Shape(kinds.pop(), common(held) if held else None)


def shape_of(node: ast.expr, known: Mapping[str, Shape]) -> Shape:
    """The shape of an expression whose names have ``known`` shapes."""
    match node:
        case ast.Name(id=name):
            return known.get(name, UNKNOWN)
        case ast.Constant(value=value):
            return shape_of_value(value)
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
            return TRUTH
        case ast.UnaryOp():
            return NUMBER
        case ast.JoinedStr():
            return TEXT
        case ast.BinOp(left=left, op=op, right=right):
            return _of_operation(shape_of(left, known), op, shape_of(right, known))
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            kind = {ast.List: "list", ast.Tuple: "tuple", ast.Set: "set"}[type(node)]
            return Shape(kind, common(shape_of(part, known) for part in parts) if parts else None)
        case ast.Dict() | ast.DictComp():
            return Shape("dictionary")
        case ast.ListComp(elt=part) | ast.GeneratorExp(elt=part):
            return Shape("list", shape_of(part, {**known, **comprehension_shapes(node.generators, known)}))
        case ast.SetComp():
            return Shape("set")
        case ast.IfExp(body=body, orelse=other):
            return common((shape_of(body, known), shape_of(other, known)))
        case ast.Subscript(value=value, slice=place):
            whole = shape_of(value, known)
            return whole if isinstance(place, ast.Slice) else whole.items
        case ast.Call():
            return _of_call(node, known)
    return UNKNOWN


def comprehension_shapes(generators: Sequence[ast.comprehension], known: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of the names that a comprehension's ``for`` clauses bind."""
    found = dict(known)
    for each in generators:
        found.update(bound_shapes(each.target, each.iter, found))
    return found


def bound_shapes(target: ast.expr, iterated: ast.expr, known: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of the names that ``for target in iterated`` binds."""
    item = iterated_shape(iterated, known)
    if isinstance(target, ast.Name):
        return {target.id: item}
    if not isinstance(target, ast.Tuple):
        return {}
    parts = [item.items] * len(target.elts)
    match iterated:
        case ast.Call(func=ast.Name(id="enumerate"), args=[whole, *_]):
            parts = [NUMBER, shape_of(whole, known).items]
        case ast.Call(func=ast.Name(id="zip"), args=wholes) if len(wholes) == len(parts):
            parts = [shape_of(whole, known).items for whole in wholes]
    return {name.id: shape for name, shape in zip(target.elts, parts, strict=False) if isinstance(name, ast.Name)}


def iterated_shape(iterated: ast.expr, known: Mapping[str, Shape]) -> Shape:
    """The shape of one turn of an iteration."""
    if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name) and iterated.func.id == "range":
        return NUMBER
    return shape_of(iterated, known).items


def _of_operation(left: Shape, op: ast.operator, right: Shape) -> Shape:
    if isinstance(op, ast.Mod) and left == TEXT:
        return TEXT
    if CHARACTER in (left, right) and isinstance(op, ast.Add | ast.Mult):
        return TEXT
    containers = [side for side in (left, right) if side.kind in ("list", "tuple", "text", "set")]
    if containers:
        return containers[0]
    if isinstance(op, ast.Add) and UNKNOWN in (left, right) and NUMBER not in (left, right):
        return UNKNOWN
    return NUMBER


def _of_call(node: ast.Call, known: Mapping[str, Shape]) -> Shape:
    name = called(node)
    first = shape_of(node.args[0], known) if node.args else UNKNOWN
    if name in _LIKE_THEIR_ITEMS:
        return first.items if len(node.args) == 1 else first
    if name in ("list", "sorted", "reversed"):
        return Shape("list", first.items)
    if name in ("tuple", "set"):
        return Shape(name, first.items if node.args else None)
    if name == "split" or name == "findall":
        return Shape("list", TEXT)
    if name in ("dict", "Counter", "defaultdict"):
        return Shape("dictionary")
    for names, shape in ((_NUMBER_CALLS, NUMBER), (_TEXT_CALLS, TEXT), (_TRUTH_CALLS, TRUTH)):
        if name in names:
            return shape
    if name == "map" and len(node.args) == 2 and isinstance(node.args[0], ast.Name):
        made = ast.Call(func=node.args[0], args=[], keywords=[])
        return Shape("list", _of_call(made, known))
    return Shape("list", first.items) if name == "filter" and len(node.args) == 2 else UNKNOWN


def called(node: ast.Call) -> str:
    """The last part of the name of what is called; empty where it has none."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""
