"""Rewrites a function so that it does the same and reads more plainly; what a narrator would stumble over goes.

Results that are only named to be returned, values that are named for one use, ``x = x + 1``, lengths kept under a
name, inputs that change their kind, imports inside the function, empty branches. That the rewritten program still does
the same is not proven here: whoever uses it runs it on the problem's tests.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping

from tracelift_ray.dataset.code_rules.shapes import UNKNOWN, Shape, shape_of

_CHANGING_METHODS = {"append", "add", "pop", "remove", "insert", "extend", "clear", "sort", "reverse", "update"}
_MAX_INLINED_NODES = 22
#: What tells the new name of an overwritten input from its own; no text that is shown has it.
CHANGED = "__changed"


def make_plainer(function: ast.FunctionDef, inputs: Mapping[str, Shape]) -> None:
    """Rewrite the body of ``function`` in place.

    Args:
        inputs: the shapes of its arguments, where they are known.
    """
    function.body = _block(function.body)
    _rename_changed_inputs(function, inputs)
    _inline_lengths(function)
    _inline_single_uses(function, function.body)
    _inline_results(function.body)


def _block(body: list[ast.stmt]) -> list[ast.stmt]:
    """A block without what has no effect, one assignment a statement."""
    kept: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.Pass | ast.Import | ast.ImportFrom) or _is_text(statement):
            continue
        if isinstance(statement, ast.If | ast.For | ast.While):
            statement.body = _block(statement.body)
            statement.orelse = _block(statement.orelse)
        if isinstance(statement, ast.If):
            _merge_nested(statement)
        kept += [_updating(one) for one in _split(statement)]
        if isinstance(statement, ast.Return | ast.Break | ast.Continue):
            break  # what follows is never reached
    return kept


def _merge_nested(statement: ast.If) -> None:
    """``if a: if b: …`` as ``if a and b: …``, where neither has another branch."""
    match statement:
        case ast.If(body=[ast.If(test=inner, body=body, orelse=[])], orelse=[]):
            tests = [part for test in (statement.test, inner) for part in _conjuncts(test)]
            statement.test = ast.copy_location(ast.BoolOp(op=ast.And(), values=tests), statement.test)
            statement.body = body


def _conjuncts(test: ast.expr) -> list[ast.expr]:
    return test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _split(statement: ast.stmt) -> list[ast.stmt]:
    """``a, b = 0, 1`` and ``a = b = 0`` as two assignments, where the order does not matter."""
    match statement:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)) if (
            len(targets) == len(values)
            and all(isinstance(target, ast.Name) for target in targets)
            and not _names(statement.value) & {target.id for target in targets if isinstance(target, ast.Name)}
        ):
            return [_like(statement, target, value) for target, value in zip(targets, values, strict=True)]
        case ast.Assign(targets=[_, _, *_], value=ast.Constant() | ast.Name() as value):
            return [_like(statement, target, value) for target in statement.targets]
    return [statement]


def _like(statement: ast.stmt, target: ast.expr, value: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Assign(targets=[target], value=value), statement)


def _updating(statement: ast.stmt) -> ast.stmt:
    """``x = x + y`` as ``x += y``."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name) as target], value=ast.BinOp(ast.Name(id=left), op, right)) if (
            left == name and name not in _names(right)
        ):
            return ast.copy_location(ast.AugAssign(target=target, op=op, value=right), statement)
    return statement


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _rename_changed_inputs(function: ast.FunctionDef, inputs: Mapping[str, Shape]) -> None:
    """An input that is overwritten by a value of another kind gets another name from there on."""
    for at, statement in enumerate(function.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in inputs:
                before, after = inputs[name], shape_of(value, inputs)
                if UNKNOWN in (before, after) or before.kind == after.kind:
                    continue
                renamed = _Renamed(name, name + CHANGED)
                statement.targets = [ast.Name(id=renamed.new, ctx=ast.Store())]
                function.body[at + 1 :] = [renamed.visit(later) for later in function.body[at + 1 :]]


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old = old
        self.new = new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.copy_location(ast.Name(id=self.new, ctx=node.ctx), node) if node.id == self.old else node


class Replaced(ast.NodeTransformer):
    """A name's uses replaced by an expression."""

    def __init__(self, name: str, value: ast.expr) -> None:
        self.name = name
        self.value = value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.value if node.id == self.name and isinstance(node.ctx, ast.Load) else node


def _inline_lengths(function: ast.FunctionDef) -> None:
    """``n = len(x)`` at the start of things: its uses become ``len(x)`` where ``x`` never changes."""
    stored = _stored(function)
    changed = {
        node.func.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.attr in _CHANGING_METHODS
    }
    arguments = {argument.arg for argument in function.args.args}
    for statement in list(function.body):
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=whole)]) as value,
            ) if stored[name] == 1 and name not in arguments and whole not in changed:
                if stored[whole] == (0 if whole in arguments else 1):
                    function.body.remove(statement)
                    function.body = [Replaced(name, value).visit(each) for each in function.body]


def _inline_single_uses(function: ast.FunctionDef, body: list[ast.stmt]) -> None:
    """A value that is named for one use in the very next statement stands there itself."""
    at = 0
    while at + 1 < len(body):
        match body[at]:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _may_move(function, name, value):
                if _uses(body[at + 1], name) == 1 and not isinstance(body[at + 1], ast.While):
                    head = _head(body[at + 1])
                    if _uses(head, name) == 1 and not _in_comprehension(head, name):
                        body[at + 1] = Replaced(name, value).visit(body[at + 1])
                        del body[at]
                        at = max(at - 1, 0)
                        continue
        at += 1
    for statement in body:
        if isinstance(statement, ast.If | ast.For | ast.While):
            _inline_single_uses(function, statement.body)
            _inline_single_uses(function, statement.orelse)


def _may_move(function: ast.FunctionDef, name: str, value: ast.expr) -> bool:
    uses = sum(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in ast.walk(function))
    short = sum(1 for _ in ast.walk(value)) <= _MAX_INLINED_NODES
    return uses == 1 and _stored(function)[name] == 1 and short


def _stored(function: ast.FunctionDef) -> Counter[str]:
    """How often each name is assigned."""
    return Counter(
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )


def _uses(node: ast.AST, name: str) -> int:
    return sum(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _head(statement: ast.stmt) -> ast.AST:
    """What of a statement is evaluated once, before its body."""
    if isinstance(statement, ast.If):
        return statement.test
    return statement.iter if isinstance(statement, ast.For) else statement


def _in_comprehension(head: ast.AST, name: str) -> bool:
    """Whether a name is used where a comprehension or lambda would evaluate it again and again."""
    repeated = (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp, ast.Lambda)
    for node in ast.walk(head):
        if isinstance(node, repeated) and _uses(node, name):
            first = node.generators[0].iter if not isinstance(node, ast.Lambda) else None
            return first is None or not _uses(first, name)
    return False


def _inline_results(body: list[ast.stmt]) -> None:
    """``r = e; return r`` as ``return e``, again and again."""
    while len(body) >= 2:
        match body[-2:]:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value), ast.Return(value=ast.expr() as returned)]:
                inner = _unwrapped(returned)
                if not isinstance(inner, ast.Name) or inner.id != name:
                    return
                body[-2:] = [ast.copy_location(ast.Return(value=_rewrapped(returned, value)), body[-1])]
            case _:
                return


def _unwrapped(node: ast.expr) -> ast.expr:
    """What a chain of calls of one argument, such as ``str(list(x))``, is about."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        node = node.args[0]
    return node


def _rewrapped(node: ast.expr, inside: ast.expr) -> ast.expr:
    if not isinstance(node, ast.Call):
        return inside
    return ast.copy_location(ast.Call(func=node.func, args=[_rewrapped(node.args[0], inside)], keywords=[]), node)
