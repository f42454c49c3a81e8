"""Narrates a program as a plan, by one short template for each statement; what belongs to a loop is set in below it.

The plan is a list of ``Line``s, each with the statement that it says, so that flaws are made on the statements and
narrated again. It holds no program text, but the program's names for its values.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.dataset.code_rules.expressions import call_of, condition, listed, loose, part_of, say, span, tight
from tracelift_ray.dataset.code_rules.program import Program
from tracelift_ray.dataset.pipeline.stages import Refused

MAX_LINE_WORDS = 60
MAX_LINES = 30
#: A branch or loop with one statement, of so many words in all, stands on one line.
INLINE_WORDS = 30
_ASKED = re.compile(r"Write a (?:python )?function to (?P<what>[^.?!]+?) ?\.?", re.IGNORECASE)
_UPDATES = {ast.Add: "add {1} to {0}", ast.Sub: "subtract {1} from {0}", ast.Mult: "multiply {0} by {1}"}
#: Calls that stand as statements, by name and number of arguments, the object of a method being the first.
_ACTIONS = {
    ("append", 2): "append {1} to {0}", ("add", 2): "add {1} to {0}", ("extend", 2): "append all of {1} to {0}",
    ("insert", 3): "insert {2} into {0} at position {1}", ("remove", 2): "remove {1} from {0}",
    ("pop", 1): "remove the last item of {0}", ("pop", 2): "remove the item at {1} from {0}", ("sort", 1): "sort {0}",
    ("reverse", 1): "reverse {0}", ("update", 2): "take all of {1} into {0}", ("heapify", 1): "make {0} a heap",
    ("heappush", 2): "push {1} onto the heap {0}", ("heappop", 1): "remove the smallest item of {0}",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of a plan: how deep it stands, and the statement that it says (None: of none)."""

    depth: int
    text: str
    statement: ast.stmt | None = None


def narrate(program: Program, statement: str) -> tuple[Line, ...]:
    """The plan of a program for a problem with this statement. Raises Refused where it would not read well."""
    asked = _ASKED.fullmatch(" ".join(statement.split()))
    lines = [Line(0, f"the goal is to {asked['what'].strip()}")] if asked else []
    lines += _block([node for node in program.module.body if not isinstance(node, ast.FunctionDef)], 0)
    *helpers, main = program.functions
    lines += _block(helpers, 0)
    lines += [Line(0, _takes(f"function {main.name}" if helpers else "function", main)), *_block(main.body, 0)]
    if len(lines) > MAX_LINES:
        raise Refused("the plan would be long")
    if any(len(line.text.split()) > MAX_LINE_WORDS for line in lines):
        raise Refused("a step of the plan would be a very long sentence")
    return tuple(lines)


def render(lines: Sequence[Line]) -> str:
    """The plan as a trace: a list in which what belongs to a loop is set in below it."""
    said = (f"{'  ' * line.depth}- {line.text[0].upper()}{line.text[1:]}" for line in lines)
    return "\n".join(text if text.endswith(":") else f"{text}." for text in said)


def _takes(what: str, function: ast.FunctionDef) -> str:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [f"any number of {several.arg}" for several in (given.vararg, given.kwarg) if several is not None]
    return f"the {what} takes {listed(names) or 'nothing'}"


def _block(body: Sequence[ast.stmt], depth: int) -> list[Line]:
    return [line for statement in body for line in _lines(statement, depth)]


def _lines(statement: ast.stmt, depth: int) -> list[Line]:
    match statement:
        case ast.Pass() | ast.Import() | ast.ImportFrom() | ast.Global() | ast.Nonlocal():
            return []
        case ast.If():
            return _branches(statement, depth)
        case ast.For(target=target, iter=whole, body=body):
            return _headed(_turns(target, whole), statement, body, depth)
        case ast.While(test=test, body=body):
            always = isinstance(test, ast.Constant) and test.value
            return _headed("repeat" if always else f"as long as {condition(test)}", statement, body, depth)
        case ast.FunctionDef(name=name, body=body):
            return [Line(depth, f"{_takes(f'helper {name}', statement)}:"), *_block(body, depth + 1)]
        case ast.Try(body=body, handlers=handlers, orelse=[], finalbody=[]):
            failing = [line for each in handlers for line in _headed("where that fails", statement, each.body, depth)]
            return [*_headed("try this", statement, body, depth), *failing]
    return [Line(depth, _clause(statement), statement)]


def _headed(header: str, statement: ast.stmt, body: Sequence[ast.stmt], depth: int) -> list[Line]:
    inner = _block(body, depth + 1)
    if not inner:
        raise Refused("a branch or loop does nothing")
    joined = f"{header}, {inner[0].text}"
    # "If a, if b, c" would leave open which of the two an "otherwise" belongs to.
    nested = inner[0].text.startswith(("if ", "for ", "as long "))
    if len(inner) == 1 and not nested and len(joined.split()) <= INLINE_WORDS:
        return [Line(depth, joined, statement)]
    return [Line(depth, f"{header}:", statement), *inner]


def _branches(statement: ast.If, depth: int) -> list[Line]:
    lines = _headed(f"if {condition(statement.test)}", statement, statement.body, depth)
    rest = statement.orelse
    while len(rest) == 1 and isinstance(rest[0], ast.If):
        lines += _headed(f"otherwise, if {condition(rest[0].test)}", rest[0], rest[0].body, depth)
        rest = rest[0].orelse
    return lines + (_headed("otherwise", rest[0], rest, depth) if rest else [])


def _turns(target: ast.expr, whole: ast.expr) -> str:
    """What a loop goes through: ``for each x in y``, ``for n rounds``."""
    counted = isinstance(target, ast.Name) and target.id == "_"
    match whole:
        case ast.Call(func=ast.Name(id="range"), args=[times]) if counted:
            return f"for {tight(times)} rounds"
        case ast.Call(func=ast.Name(id="range"), args=[ast.Call(func=ast.Name(id="len"), args=[of])]):
            return f"for each position {say(target)} of {part_of(of)}"
        case ast.Call(func=ast.Name(id="range")):
            return f"for each {say(target)}{span(whole)}"
    return f"once for each item of {part_of(whole)}" if counted else f"for each {say(target)} in {part_of(whole)}"


def _clause(statement: ast.stmt) -> str:
    """A statement without a body, as an imperative."""
    match statement:
        case ast.Return(value=ast.Compare() | ast.BoolOp() as value):
            return f"return whether {condition(value)}"
        case ast.Return(value=value):
            return f"return {'nothing' if value is None else say(value)}"
        case ast.AugAssign(target=target, op=op, value=value):
            changed = _UPDATES.get(type(op), "set {0} to {2}")
            return changed.format(say(target), part_of(value), say(ast.BinOp(target, op, value)))
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            pairs = [f"{say(name)} to {loose(value)}" for name, value in zip(names, values, strict=True)]
            return f"at the same time set {listed(pairs)}"
        case ast.Assign(targets=targets, value=value):
            return f"set {listed([say(target) for target in targets])} to {say(value)}"
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return f"set {say(target)} to {say(value)}"
        case ast.Expr(value=ast.Call() as call):
            return _action(call)
        case ast.Break():
            return "leave the loop"
        case ast.Continue():
            return "go on with the next one"
    raise Refused("no words for a statement")


def _action(call: ast.Call) -> str:
    name, arguments = call_of(call)
    template = _ACTIONS.get((name, len(arguments)))
    if template is None or (call.keywords and name != "sort"):
        return f"carry out {say(call).removeprefix('the result of ')}"
    descending = " in descending order" if any(option.arg == "reverse" for option in call.keywords) else ""
    return template.format(*map(part_of, arguments)) + descending
