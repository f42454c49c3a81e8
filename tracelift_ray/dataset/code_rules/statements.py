"""Says the statements of a reference program in English, one line each; short branches and loops fit on one line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.dataset.code_rules.orders import OrderWords
from tracelift_ray.dataset.code_rules.phrases import Phrases
from tracelift_ray.dataset.code_rules.shapes import called
from tracelift_ray.dataset.code_rules.words import bracketed, listed, small
from tracelift_ray.dataset.pipeline.stages import Refused

#: A branch or loop of at most so many words stands on one line.
INLINE_WORDS = 34


@dataclass(frozen=True)
class Line:
    """One line of a plan: how deep it stands, and the line of the program that it comes from (0: of none)."""

    depth: int
    text: str
    source: int


class StatementWords:
    """The statements of one function.

    Args:
        phrases: how its expressions are said.
        returns: what it does with its result; None: what the style says.
    """

    def __init__(self, phrases: Phrases, returns: str | None = None) -> None:
        self.phrases = phrases
        self.returns = returns
        self._orders = OrderWords(phrases)

    def block(self, body: Sequence[ast.stmt], depth: int) -> list[Line]:
        """The lines of a block. Raises Refused."""
        lines: list[Line] = []
        for statement in body:
            lines += self._lines(statement, depth)
        return lines

    def _lines(self, statement: ast.stmt, depth: int) -> list[Line]:
        match statement:
            case ast.If():
                return self._branch(statement, depth)
            case ast.For() | ast.While():
                header = self._loop(statement)
                return self._headed(header, statement.body, depth, statement.lineno)
        return [Line(depth, self.clause(statement), statement.lineno)]

    def _headed(self, header: str, body: Sequence[ast.stmt], depth: int, source: int) -> list[Line]:
        inner = self.block(body, depth + 1)
        # "If a, if b, c; otherwise d" would leave open which of the two the last part belongs to.
        unclear = header.startswith(("if ", "otherwise")) and inner[0].text.startswith("if ")
        if len(inner) == 1 and not inner[0].text.endswith(":") and not unclear:
            joined = f"{header}, {inner[0].text}"
            if len(joined.split()) <= INLINE_WORDS:
                return [Line(depth, joined, source)]
        return [Line(depth, f"{header}:", source), *inner]

    def _branch(self, statement: ast.If, depth: int) -> list[Line]:
        arms: list[tuple[str, Sequence[ast.stmt], int]] = [
            (f"if {self.phrases.condition(statement.test)}", statement.body, statement.lineno)
        ]
        rest = statement.orelse
        while len(rest) == 1 and isinstance(rest[0], ast.If):
            test = self.phrases.condition(rest[0].test)
            arms.append((f"otherwise, if {test}", rest[0].body, rest[0].lineno))
            rest = rest[0].orelse
        if rest:
            arms.append(("otherwise", rest, rest[0].lineno))
        lines: list[Line] = []
        for header, body, source in arms:
            lines += self._headed(header, body, depth, source)
        simple = len(lines) == len(arms) and not any(line.text.endswith(":") for line in lines)
        if simple and 1 < len(arms) <= 3 and sum(len(line.text.split()) for line in lines) <= INLINE_WORDS:
            return [Line(depth, "; ".join(line.text for line in lines), statement.lineno)]
        return lines

    def _loop(self, loop: ast.For | ast.While) -> str:
        phrases = self.phrases
        if isinstance(loop, ast.While):
            return (
                f"{phrases.style.pick('while', 'as long as', 'while', 'repeat while')} {phrases.condition(loop.test)}"
            )
        start = phrases.style.pick("for", "for every", "for each")
        iterated = loop.iter
        match loop.target, iterated:
            case ast.Name(id=name), ast.Call(func=ast.Name(id="range")):
                if not phrases.names[name].letter:
                    return f"with {phrases.name(name)} going {phrases.span(iterated, '').strip()}, each time"
                return f"{start} {phrases.span(iterated, phrases.name(name))}"
            case ast.Name(id=name), _:
                known = phrases.names[name]
                noun = f"element {known.words}" if known.letter else known.noun.removeprefix("current ")
                return f"{start} {noun} of {phrases.value(iterated)}"
            case ast.Tuple(elts=[first, second]), ast.Call(func=ast.Name(id="enumerate"), args=[whole]):
                places = f"{phrases.value(first)} and {phrases.value(second)}"
                return f"go through {phrases.value(whole)}, with {places} for each position and what stands there"
            case ast.Tuple(elts=parts), _:
                said = listed([phrases.value(part) for part in parts])
                return f"go through {phrases.value(iterated)}, with {said} for the parts of each"
        raise Refused("no words for a loop")

    def clause(self, statement: ast.stmt) -> str:
        """A statement without a body, as an imperative."""
        phrases = self.phrases
        match statement:
            case ast.Return(value=None):
                return "return nothing"
            case ast.Return(value=ast.expr() as value):
                return self._return(value)
            case ast.AugAssign():
                return self._update(statement)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                return self._together(targets, values)
            case ast.Assign(targets=[target], value=value):
                return self._assign(target, value)
            case ast.Expr(value=ast.Call() as call):
                return self._action(call)
            case ast.Break():
                return phrases.style.pick("break", "stop the loop", "leave the loop")
            case ast.Continue():
                return phrases.style.pick("continue", "go on with the next one", "skip to the next one")
        raise Refused("no words for a statement")

    def _return(self, value: ast.expr) -> str:
        phrases = self.phrases
        verb = self.returns or phrases.style.pick("return", "return", "return", "give back")
        if isinstance(value, ast.IfExp):
            test = phrases.condition(value.test)
            return f"{verb} {phrases.value(value.body)} if {test}, and {phrases.value(value.orelse)} otherwise"
        match value:
            case ast.Tuple(elts=parts) if len(parts) > 1:
                said = [phrases.value(part) for part in parts]
                if any("," in each for each in said):
                    return f"{verb} {small(len(said))} values: {'; '.join(said)}"
                return f"{verb} {listed(said)}"
        return f"{verb} {phrases.value(value)}"

    def _assign(self, target: ast.expr, value: ast.expr) -> str:
        phrases = self.phrases
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            return f"replace {phrases.value(target)} by {phrases.value(value)}"
        if isinstance(target, ast.Subscript):
            return f"set {phrases.value(target)} to {phrases.value(value)}"
        if not isinstance(target, ast.Name):
            raise Refused("no words for unpacking")
        name = phrases.names.get(target.id)
        if name is None:
            raise Refused("a name has no meaning of its own")
        if isinstance(value, ast.Constant) and name.role in ("count", "total", "product"):
            return phrases.style.pick(
                "start", f"start {name.words} at {phrases.value(value)}", f"set {name.words} to {phrases.value(value)}",
                f"let {name.words} be {phrases.value(value)}",
            )  # fmt: skip
        said = phrases.value(value)
        if name.letter:
            return phrases.style.pick("let", f"let {name.words} be {said}", f"set {name.words} to {said}")
        verb = phrases.style.pick("collection", "let {} be {}", "set {} to {}")
        return verb.format(name.words, said)

    def _together(self, targets: Sequence[ast.expr], values: Sequence[ast.expr]) -> str:
        phrases = self.phrases
        if len(targets) != len(values):
            raise Refused("no words for unpacking")
        said = [phrases.value(target) for target in targets]
        new = [phrases.value(value) for value in values]
        if len(said) == 2 and said == new[::-1]:
            return f"swap {said[0]} and {said[1]}"
        return f"at the same time, set {listed([f'{old} to {value}' for old, value in zip(said, new, strict=True)])}"

    def _update(self, statement: ast.AugAssign) -> str:
        phrases = self.phrases
        target = phrases.value(statement.target)
        by = phrases.value(statement.value)
        one = by == "1"
        shape = phrases.shape(statement.target)
        match statement.op:
            case ast.Add() if shape.kind in ("text", "character"):
                return f"append {by} to {target}"
            case ast.Add() if shape.kind in ("list", "tuple"):
                return f"extend {target} by {by}"
            case ast.Add():
                if one:
                    return phrases.style.pick("plus-one", f"increase {target} by 1", f"add 1 to {target}")
                return f"add {by} to {target}"
            case ast.Sub():
                return f"decrease {target} by 1" if one else f"subtract {by} from {target}"
            case ast.Mult():
                return f"multiply {target} by {bracketed(by)}"
            case ast.Div():
                return f"divide {target} by {bracketed(by)}"
            case ast.FloorDiv():
                return f"divide {target} by {bracketed(by)} and keep the whole part"
            case ast.Mod():
                return f"replace {target} by its remainder on division by {bracketed(by)}"
        updated = ast.BinOp(left=statement.target, op=statement.op, right=statement.value)
        return f"set {target} to {phrases.value(updated)}"

    def _action(self, call: ast.Call) -> str:
        phrases = self.phrases
        name = called(call)
        arguments = [phrases.value(argument) for argument in call.args]
        if name in ("heapify", "heappush") and arguments:
            return (
                f"turn {arguments[0]} into a heap"
                if name == "heapify"
                else f"push {arguments[1]} onto the heap {arguments[0].removeprefix('the ')}"
            )
        if not isinstance(call.func, ast.Attribute):
            raise Refused("no words for a call")
        match name, call.func.value:
            case "append", ast.Call(func=ast.Attribute(attr="setdefault", value=table), args=[key, ast.List(elts=[])]):
                kept = f"the list that {phrases.value(table)} keeps for {phrases.value(key)}"
                return f"append {arguments[0]} to {kept}, which starts out empty"
        whole = phrases.value(call.func.value)
        match name, arguments:
            case "append", [part]:
                return phrases.style.pick("append", f"append {part} to {whole}", f"add {part} to the end of {whole}")
            case "add", [part]:
                return f"add {part} to {whole}"
            case "extend", [part]:
                return f"append all of {part} to {whole}"
            case "remove" | "discard", [part]:
                return (
                    f"remove the first occurrence of {part} from {whole}"
                    if name == "remove"
                    else f"remove {part} from {whole}"
                )
            case "pop", []:
                return f"remove the last element of {whole}"
            case "pop", [place]:
                return f"remove the element at position {place} of {whole}"
            case "insert", [place, part]:
                return f"insert {part} into {whole} at position {place}"
            case "sort", []:
                return f"{self._orders.order(call).replace('sorted', f'sort {whole}')}"
            case "reverse", []:
                return f"reverse {whole}"
            case "update", [part]:
                return f"add all of {part} to {whole}"
        raise Refused("no words for a call")
