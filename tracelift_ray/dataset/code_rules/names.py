"""What a plan calls the values of a reference program: by what they are and do, never by the program's own names.

Inputs that are numbers get a letter, as in mathematics; other inputs are "the list" or "the first string". What a
function builds up is named by how it changes: a count, a running total, a result list. The names belong to a function
and not to one version of it, so that a plan and a flawed copy of it speak of the same things in the same words.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tracelift_ray.dataset.code_rules.shapes import (
    NUMBER,
    UNKNOWN,
    Shape,
    bound_shapes,
    common,
    shape_of,
    shape_of_value,
)
from tracelift_ray.dataset.pipeline.stages import Refused

_LETTERS = ("n", "m", "k", "p", "q", "r", "s", "t")
_LOOP_LETTERS = ("i", "j", "k", "u", "v")
_LOCAL_LETTERS = ("x", "y", "z", "w", "d", "c")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_INPUT_NOUNS = {
    "text": "string",
    "character": "character",
    "list": "list",
    "tuple": "tuple",
    "dictionary": "dictionary",
    "set": "set",
}
_LOCAL_NOUNS = {
    **_INPUT_NOUNS,
    "list": "working list",
    "tuple": "working tuple",
    "text": "working string",
    "character": "current character",
}
_MAX_UNNAMED = 3
#: Values that programs call by ordinary words, and what a plan calls them.
_KNOWN_WORDS = {
    "low": "lower bound", "lo": "lower bound", "high": "upper bound", "hi": "upper bound", "mid": "middle position",
    "left": "left end", "right": "right end", "rem": "remainder", "remainder": "remainder", "digit": "digit",
    "area": "area", "volume": "volume", "diff": "difference", "avg": "average", "mean": "average",
    "prev": "previous value",
    "res": "result", "result": "result", "ans": "result", "gcd": "greatest common divisor",
    "maxi": "largest value so far",
    "mini": "smallest value so far", "max_val": "largest value so far", "min_val": "smallest value so far",
    "temp": "working value", "tmp": "working value", "rev": "reversed number", "flag": "flag", "height": "height",
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """How one variable is referred to.

    Attributes:
        words: such as ``the first list`` or a letter.
        letter: whether it is a letter.
        shape: what it holds, as far as it is known.
        noun: without article and ordinal, for saying that it is one of several.
        role: input | count | total | product | best | flag | collection | loop | value
    """

    words: str
    letter: bool
    shape: Shape
    noun: str
    role: str


def name_variables(
    function: ast.FunctionDef, calls: Sequence[tuple[Any, ...]], outer: Iterable[str] = ()
) -> dict[str, Name]:
    """A name for every variable of a function, comprehensions and lambdas aside.

    Args:
        calls: known arguments of the function.
        outer: letters that are taken.

    Raises:
        Refused: there are too many values that nothing tells apart.
    """
    return _Naming(function, calls, set(outer)).names


class _Naming:
    def __init__(self, function: ast.FunctionDef, calls: Sequence[tuple[Any, ...]], taken: set[str]) -> None:
        self.function = function
        self.taken = taken
        self.shapes: dict[str, Shape] = {}
        self.names: dict[str, Name] = {}
        self._inputs(calls)
        self._find_shapes()
        self._locals()

    def _inputs(self, calls: Sequence[tuple[Any, ...]]) -> None:
        arguments = [argument.arg for argument in self.function.args.args]
        for place, argument in enumerate(arguments):
            values = [call[place] for call in calls if place < len(call)]
            self.shapes[argument] = common(shape_of_value(value) for value in values) if values else UNKNOWN
        nouns = {name: _input_noun(self.shapes[name]) for name in arguments}
        for name in arguments:
            if self.shapes[name].kind == "number":
                self._letter(name, _LETTERS, "input")
        self._phrases([(name, nouns[name]) for name in arguments if name not in self.names], "input")

    def _find_shapes(self) -> None:
        """Shapes of local variables from what is assigned to them; two rounds, for uses before assignments."""
        for _ in range(2):
            for node in ast.walk(self.function):
                if isinstance(node, ast.Assign):
                    for target in node.targets:
                        if isinstance(target, ast.Name) and self.shapes.get(target.id, UNKNOWN) == UNKNOWN:
                            self.shapes[target.id] = shape_of(node.value, self.shapes)
                elif isinstance(node, ast.For):
                    self.shapes.update(
                        {k: v for k, v in bound_shapes(node.target, node.iter, self.shapes).items() if v != UNKNOWN}
                    )
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    self._learn_items(node)

    def _learn_items(self, node: ast.Call) -> None:
        if not (isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.args):
            return
        holder = self.shapes.get(node.func.value.id, UNKNOWN)
        if node.func.attr in ("append", "add") and holder.item is None and holder.kind in ("list", "set"):
            self.shapes[node.func.value.id] = Shape(holder.kind, shape_of(node.args[0], self.shapes))

    def _locals(self) -> None:
        found: dict[str, str] = {}
        for node in _in_order(self.function):
            for name, role in self._roles(node):
                if name not in self.names:
                    found.setdefault(name, role)
        phrases: list[tuple[str, str, str]] = []
        unnamed = 0
        for name, role in found.items():
            role = self._role_by_updates(name) if role == "value" else role
            shape = self.shapes.get(name, UNKNOWN)
            if role == "position":
                self._letter(name, _LOOP_LETTERS, "loop")
            elif role == "value" and shape in (NUMBER, UNKNOWN):
                unnamed += 1
                self._letter(name, _LOCAL_LETTERS, "value")
            else:
                phrases.append((name, _local_noun(role, shape, name), role))
        if unnamed > _MAX_UNNAMED + 1:
            raise Refused("the reference program has many values that nothing tells apart")
        taken = Counter(name.noun for name in self.names.values())
        self._phrases([(name, noun) for name, noun, _ in phrases], "", taken, {n: r for n, _, r in phrases})

    def _roles(self, node: ast.AST) -> list[tuple[str, str]]:
        match node:
            case ast.For(target=ast.Name(id=name), iter=iterated):
                is_range = isinstance(iterated, ast.Call) and getattr(iterated.func, "id", "") == "range"
                keyed = shape_of(iterated, self.shapes).kind == "dictionary"
                return [(name, "position" if is_range else "key" if keyed else "element")]
            case ast.For(target=ast.Tuple(elts=parts), iter=iterated):
                names = [part.id for part in parts if isinstance(part, ast.Name)]
                if len(names) != len(parts):
                    raise Refused("the reference program unpacks nested values")
                numbered = isinstance(iterated, ast.Call) and getattr(iterated.func, "id", "") == "enumerate"
                first = "position" if numbered else "key" if _is_items(iterated) else "element"
                rest = "value of it" if _is_items(iterated) else "element"
                return [(names[0], first)] + [(name, rest) for name in names[1:]]
            case ast.Assign(targets=targets):
                names = [t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)]
                stored = {
                    t.id
                    for target in targets
                    for t in ast.walk(target)
                    if isinstance(t, ast.Name) and isinstance(t.ctx, ast.Store)
                }
                return [(name, "value") for name in names if name in stored]
        return []

    def _role_by_updates(self, name: str) -> str:
        """What a variable is for, told by how it changes."""
        shape = self.shapes.get(name, UNKNOWN)
        roles = set()
        assigned = 0
        truths = 0
        for node in ast.walk(self.function):
            match node:
                case ast.AugAssign(target=ast.Name(id=target), op=op, value=value) if target == name:
                    one = isinstance(value, ast.Constant) and value.value == 1
                    if isinstance(op, ast.Add):
                        roles.add("count" if one else "total")
                    elif isinstance(op, ast.Mult):
                        roles.add("product")
                    else:
                        roles.add("value")
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    assigned += 1
                    truths += isinstance(value, ast.Constant) and isinstance(value.value, bool)
                    call = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ""
                    if call in ("max", "min") and any(getattr(a, "id", "") == name for a in ast.walk(value)):
                        roles.add("largest" if call == "max" else "smallest")
        if assigned and truths == assigned:
            return "flag"
        if "count" in roles and not self._counts(name):
            return "position" if name in _LOOP_LETTERS else "value"
        if shape.kind in _INPUT_NOUNS:
            return "result" if self._is_returned(name) else "collection"
        if len(roles) == 1 and assigned <= 2:
            return roles.pop()
        if name.lower() in _KNOWN_WORDS and "letter" not in roles:
            return "known"
        return "total" if roles == {"count", "total"} else "value"

    def _counts(self, name: str) -> bool:
        """Whether a variable that is increased by one starts at nought and is not used as a position."""
        for node in ast.walk(self.function):
            match node:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    if not (isinstance(value, ast.Constant) and value.value in (0, 1)):
                        return False
                case ast.Subscript(slice=place) if any(getattr(n, "id", "") == name for n in ast.walk(place)):
                    return False
                case ast.While(test=test) if any(getattr(n, "id", "") == name for n in ast.walk(test)):
                    return False
        return True

    def _is_returned(self, name: str) -> bool:
        returns = [node for node in ast.walk(self.function) if isinstance(node, ast.Return) and node.value]
        return any(isinstance(n, ast.Name) and n.id == name for node in returns for n in ast.walk(node))

    def _letter(self, name: str, letters: Sequence[str], role: str) -> None:
        own = name.lower()
        free = [letter for letter in letters if letter not in self.taken]
        if len(own) == 1 and own not in self.taken and own.isalpha() and own not in "olI":
            letter = own
        elif free:
            letter = free[0]
        else:
            raise Refused("the reference program has many numbers")
        self.taken.add(letter)
        self.names[name] = Name(letter, True, self.shapes.get(name, NUMBER), "number", role)

    def _phrases(
        self,
        nouns: Sequence[tuple[str, str]],
        role: str,
        taken: Counter[str] | None = None,
        roles: dict[str, str] | None = None,
    ) -> None:
        """``the noun`` for a noun that occurs once, else ``the first noun``, ``the second noun`` …"""
        counts = Counter(noun for _, noun in nouns) + Counter(taken or {})
        seen: Counter[str] = Counter(taken or {})
        for name, noun in nouns:
            seen[noun] += 1
            if seen[noun] > len(_ORDINALS):
                raise Refused("the reference program has many values that nothing tells apart")
            words = f"the {noun}" if counts[noun] == 1 else f"the {_ORDINALS[seen[noun] - 1]} {noun}"
            shape = self.shapes.get(name, UNKNOWN)
            self.names[name] = Name(words, False, shape, noun, (roles or {}).get(name, role))


def _in_order(function: ast.FunctionDef) -> list[ast.For | ast.Assign]:
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.For | ast.Assign)]
    return sorted(nodes, key=lambda node: (node.lineno, node.col_offset))


def _is_items(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items"


def _input_noun(shape: Shape) -> str:
    return _INPUT_NOUNS.get(shape.kind, "value")


def item_noun(shape: Shape) -> str:
    """What a value of ``shape`` is called where it is one of many."""
    nouns = {
        "number": "number",
        "text": "string",
        "character": "character",
        "list": "inner list",
        "tuple": "tuple",
        "dictionary": "dictionary",
    }
    return nouns.get(shape.kind, "element")


def _local_noun(role: str, shape: Shape, name: str) -> str:
    match role:
        case "element":
            return f"current {item_noun(shape)}"
        case "key" | "value of it":
            return {"key": "current key", "value of it": "value under that key"}[role]
        case "known":
            return _KNOWN_WORDS[name.lower()]
        case "count":
            return "count"
        case "total" | "product":
            return f"running {role}"
        case "largest" | "smallest":
            return f"{role} value so far"
        case "flag":
            return "flag"
        case "result":
            return f"result {_INPUT_NOUNS[shape.kind]}"
    return _LOCAL_NOUNS.get(shape.kind, "intermediate value")
