"""Small changes to a program, each a mistake that a planner could make, with the kind of mistake that it is.

A change puts other nodes where some stand; the program itself stays as it is. Whether a change does harm is not decided
here: its user runs the changed program on the problem's tests.
"""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Iterator

from tracelift_ray.dataset.code_rules.expressions import called

ALGORITHM, OFF_BY_ONE, EDGE_CASE = "wrong_algorithm", "off_by_one", "missed_edge_case"
STRUCTURE, COMPLEXITY = "wrong_data_structure", "wrong_complexity"
#: New nodes for old ones. A list of statements stands for one statement.
Change = list[tuple[ast.AST, ast.AST | list[ast.stmt]]]
Changes = Iterator[tuple[str, Change]]
_OPERATIONS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mod,), ast.Mod: (ast.FloorDiv,), ast.Pow: (ast.Mult,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitOr, ast.BitAnd), ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,),
}  # fmt: skip
_NEXT_RELATION: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip
_OTHER_RELATION: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_PAIRS = (
    ("max", "min"), ("all", "any"), ("upper", "lower"), ("floor", "ceil"), ("nlargest", "nsmallest"), ("sin", "cos"),
    ("isdigit", "isalpha"), ("isupper", "islower"), ("startswith", "endswith"), ("keys", "values"),
    ("bisect_left", "bisect_right"), ("combinations", "permutations"),
)  # fmt: skip
_OTHER_CALL = dict(_PAIRS) | {b: a for a, b in _PAIRS} | {"search": "fullmatch", "match": "fullmatch"}
#: Calls that look at every item of their argument, and what becomes of its order or counts in another structure.
_OF_ALL_ITEMS = ("sum", "max", "min", "len", "Counter", "sorted", "set", "list", "tuple", "any", "all")
_STRUCTURES = {"sorted": "set", "set": "list", "Counter": "set", "tuple": "set", "list": "set"}
#: What may be left out by mistake: what does not fulfil one of these.
_SOME_ITEMS = ("{} > 0", "{} > 1", "{}.isalpha()", "{}.islower()", "len({}) > 1")
#: Changes of a regular expression: how often, which characters, where.
_PATTERNS = (
    (OFF_BY_ONE, "+", "*"), (OFF_BY_ONE, "*", "+"), (OFF_BY_ONE, "{3}", "{4}"), (OFF_BY_ONE, "?", ""),
    (ALGORITHM, "[A-Z]", "[a-z]"), (ALGORITHM, "[a-z]", "[A-Z]"), (ALGORITHM, r"\w", r"\d"), (ALGORITHM, r"\d", r"\w"),
    (ALGORITHM, "[^", "["), (EDGE_CASE, "^", ""), (EDGE_CASE, "$", ""), (EDGE_CASE, r"\b", ""),
)  # fmt: skip
_MAX_NUMBER = 1_000
#: Results that take work.
_WORK = (ast.Call, ast.BinOp, ast.Subscript, ast.Compare, ast.BoolOp, ast.ListComp)


def mutations(module: ast.Module) -> Changes:
    """Every change that is known for the functions of a module, with its kind."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                yield from _changes(function, node)


def changed(module: ast.Module, change: Change) -> ast.Module:
    """A copy with the new nodes in place: ``deepcopy`` takes for the copy of an old node what it finds under its id."""
    copied: ast.Module = copy.deepcopy(module, {id(old): copy.deepcopy(new) for old, new in change})
    for node in ast.walk(copied):
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if isinstance(block, list) and any(isinstance(each, list) for each in block):
                flat = [one for each in block for one in (each if isinstance(each, list) else [each])]
                setattr(node, field, flat or ([ast.Pass()] if field == "body" else []))
    return copied


def _changes(function: ast.FunctionDef, node: ast.AST) -> Changes:
    """The changes that apply at a node."""
    match node:
        case ast.FunctionDef() if node is function:
            yield from _repeated(function)
        case ast.BinOp() | ast.AugAssign():
            yield from _of_operation(node)
        case ast.Compare(left=left, ops=[op, *ops], comparators=[right, *others]):
            for kind, relations in ((OFF_BY_ONE, _NEXT_RELATION), (ALGORITHM, _OTHER_RELATION)):
                if type(op) in relations:
                    yield kind, [(node, ast.Compare(left, [relations[type(op)](), *ops], [right, *others]))]
            if not ops and _is_whole(right):
                yield ALGORITHM, [(right, _shifted(right, 1))]
        case ast.BoolOp(op=op, values=values):
            for kept in (values[:-1], values[1:]):
                yield EDGE_CASE, [(node, kept[0] if len(kept) == 1 else ast.BoolOp(op, kept))]
            yield ALGORITHM, [(node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))]
        case ast.Call():
            yield from _of_call(node)
        case ast.If(orelse=otherwise):
            yield EDGE_CASE, [(node, otherwise)]
        case ast.IfExp(body=usual):
            yield EDGE_CASE, [(node, usual)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            for bound in filter(None, (upper, lower)):
                yield OFF_BY_ONE, [(bound, _shifted(bound, 1))]
            if (lower is None) != (upper is None):
                yield ALGORITHM, [(node, ast.Slice(upper, lower, step))]
        case ast.Subscript(slice=index) if not isinstance(index, ast.Tuple | ast.Slice):
            if _is_whole(index) or not isinstance(index, ast.Constant | ast.UnaryOp):
                yield OFF_BY_ONE, [(index, _shifted(index, 1))]
            if isinstance(index, ast.UnaryOp) or (_is_whole(index) and ast.literal_eval(index) == 0):
                yield ALGORITHM, [(index, _number(0 if isinstance(index, ast.UnaryOp) else -1))]
        case _:
            yield from _of_statement(function, node)


def _of_statement(function: ast.FunctionDef, node: ast.AST) -> Changes:
    """The changes of assignments, results, inputs and loops."""
    match node:
        case ast.Assign(value=ast.Constant(value=int(start)) as value) if _is_whole(value):
            yield OFF_BY_ONE, [(value, _number(start + 1 if start < 1 else start - 1))]
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=[]) as empty):
            yield from _as_set(function, name, empty)
        case ast.Return(value=ast.Constant(value=bool(value)) as constant):
            yield ALGORITHM, [(constant, ast.Constant(value=not value))]
        case ast.Return(value=ast.Constant(value=str()) as constant):
            returned = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)]
            texts = [text for text in returned if isinstance(text, ast.Constant) and text.value != constant.value]
            if texts:
                yield ALGORITHM, [(constant, texts[0])]
        case ast.Name(id=name, ctx=ast.Load()):
            inputs = [argument.arg for argument in function.args.args]
            if name in inputs and len(inputs) > 1:
                yield ALGORITHM, [(node, _loaded(inputs[(inputs.index(name) + 1) % len(inputs)]))]
        case ast.For() | ast.comprehension():
            yield from _of_loop(node)


def _of_operation(node: ast.BinOp | ast.AugAssign) -> Changes:
    right = node.right if isinstance(node, ast.BinOp) else node.value
    by_one = isinstance(right, ast.Constant) and right.value == 1
    summed = isinstance(node.op, ast.Add | ast.Sub)
    others = _OPERATIONS.get(type(node.op), ())
    for other in (others[:1] if summed else ()) if by_one else others:
        if isinstance(node, ast.BinOp):
            yield ALGORITHM, [(node, ast.BinOp(node.left, other(), right))]
        else:
            yield ALGORITHM, [(node, ast.copy_location(ast.AugAssign(node.target, other(), right), node))]
    if isinstance(node, ast.AugAssign):
        return
    if _is_whole(right) and by_one and summed:
        yield OFF_BY_ONE, [(node, node.left)]
    elif _is_whole(right):
        yield (OFF_BY_ONE if summed else ALGORITHM), [(right, _shifted(right, 1))]
    elif isinstance(node.op, ast.Sub | ast.Div | ast.Mod | ast.FloorDiv | ast.Pow):
        yield ALGORITHM, [(node, ast.BinOp(right, node.op, node.left))]
    if isinstance(node.op, ast.Add | ast.Mult | ast.Div):
        if _is_whole(node.left):
            yield ALGORITHM, [(node.left, _shifted(node.left, 1))]
        yield ALGORITHM, [(node, node.left)]


def _of_call(node: ast.Call) -> Changes:
    name, args, options = called(node), node.args, node.keywords
    if name == "range" and args:
        end = args[0] if len(args) == 1 else args[1]
        for by in (1, -1):
            yield OFF_BY_ONE, [(end, _shifted(end, by))]
        later = [_number(1), *args] if len(args) == 1 else [_shifted(args[0], 1), *args[1:]]
        yield OFF_BY_ONE, [(node, ast.Call(node.func, later, options))]
    if name in _OTHER_CALL:
        yield ALGORITHM, [(node, ast.Call(_renamed(node.func, _OTHER_CALL[name]), args, options))]
    if name in ("sorted", "sort"):
        ascending = [option for option in options if option.arg != "reverse"]
        descending = [*options, ast.keyword("reverse", ast.Constant(value=True))]
        yield ALGORITHM, [(node, ast.Call(node.func, args, ascending if len(ascending) < len(options) else descending))]
        unkeyed = [option for option in options if option.arg != "key"]
        if len(unkeyed) < len(options):
            yield ALGORITHM, [(node, ast.Call(node.func, args, unkeyed))]
    if isinstance(node.func, ast.Name) and len(args) == 1:
        if name in _STRUCTURES and not options:
            yield STRUCTURE, [(node, ast.Call(_loaded(_STRUCTURES[name]), args, []))]
        if name == "abs":
            yield EDGE_CASE, [(node, args[0])]
        if name in _OF_ALL_ITEMS and isinstance(args[0], ast.Name):
            yield OFF_BY_ONE, [(args[0], _rest(args[0]))]
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[ast.Constant(value=str(pattern)) as old, *_]):
            for kind, before, after in _PATTERNS:
                if before in pattern:
                    yield kind, [(old, ast.Constant(value=pattern.replace(before, after, 1)))]
    match args:
        case [first, ast.Constant(value=str(text)) as old, *others] if name in ("sub", "replace"):
            yield ALGORITHM, [(old, ast.Constant(value="" if text else " "))]
            yield ALGORITHM, [(node, ast.Call(node.func, [old, first, *others], options))]


def _of_loop(node: ast.For | ast.comprehension) -> Changes:
    if isinstance(node, ast.comprehension) and node.ifs:
        yield EDGE_CASE, [(node, ast.comprehension(node.target, node.iter, node.ifs[:-1], 0))]
    if isinstance(node.iter, ast.Name):
        yield OFF_BY_ONE, [(node.iter, _rest(node.iter))]
    if not isinstance(node.target, ast.Name) or called(node.iter) == "range":
        return
    for text in _SOME_ITEMS:
        some = ast.parse(text.format(node.target.id), mode="eval").body
        if isinstance(node, ast.comprehension):
            yield EDGE_CASE, [(node, ast.comprehension(node.target, node.iter, [*node.ifs, some], 0))]
        else:
            branch = ast.copy_location(ast.If(some, node.body, []), node.body[0])
            yield EDGE_CASE, [(node, ast.copy_location(ast.For(node.target, node.iter, [branch], []), node))]


def _as_set(function: ast.FunctionDef, name: str, empty: ast.List) -> Changes:
    """A list that is only appended to becomes a set."""
    change: Change = [(empty, ast.Call(_loaded("set"), [], []))]
    for each in ast.walk(function):
        match each:
            case ast.Subscript(value=ast.Name(id=used)) if used == name:
                return
            case ast.Attribute(value=ast.Name(id=used), attr=method) if used == name:
                if method != "append":
                    return
                change.append((each, ast.Attribute(_loaded(name), "add", ast.Load())))
    if len(change) > 1:
        yield STRUCTURE, change


def _repeated(function: ast.FunctionDef) -> Changes:
    """Needless work: what is computed is computed again for every item of an input, or as often as an input says."""
    *steps, last = function.body
    for name in [argument.arg for argument in function.args.args]:
        for often in (_loaded(name), ast.Call(_loaded("range"), [_loaded(name)], [])):
            for start, end in itertools.combinations(range(len(steps) + 1), 2):
                first, *others = steps[start:end]
                if isinstance(first, ast.Assign) and (others or not isinstance(first.value, ast.Name | ast.Constant)):
                    yield COMPLEXITY, [(first, [_loop(often, steps[start:end])]), *((each, []) for each in others)]
            if isinstance(last, ast.Return) and isinstance(last.value, _WORK):
                result = ast.copy_location(ast.Assign([ast.Name("result", ast.Store())], last.value), last)
                again = ast.copy_location(ast.Return(_loaded("result")), last)
                yield COMPLEXITY, [(last, [_loop(often, [result]), again])]


def _loop(often: ast.expr, body: list[ast.stmt]) -> ast.stmt:
    return ast.copy_location(ast.For(ast.Name("_", ast.Store()), often, body, []), body[0])


def _is_whole(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) <= _MAX_NUMBER


def _number(value: int) -> ast.expr:
    return ast.Constant(value=value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(value=-value))


def _shifted(node: ast.expr, by: int) -> ast.expr:
    """``node + by``, with its own constant changed where it has one."""
    match node:
        case ast.Constant(value=int(value)):
            return _number(value + by)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=ast.Constant(value=int(value))):
            node, by = left, by + (value if isinstance(op, ast.Add) else -value)
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(value=abs(by))) if by else node


def _loaded(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _renamed(function: ast.expr, name: str) -> ast.expr:
    return ast.Attribute(function.value, name, ast.Load()) if isinstance(function, ast.Attribute) else _loaded(name)


def _rest(whole: ast.expr) -> ast.expr:
    """All but the first item."""
    return ast.Subscript(whole, ast.Slice(lower=ast.Constant(value=1)), ast.Load())
