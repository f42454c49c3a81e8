"""Small changes to a reference program, each a mistake that a planner could make: where it is, and of what kind.

A change is described by where it applies and made on a copy, so that the program itself stays as it is. Whether a
change does harm is not decided here; whoever uses it runs the changed program on the problem's tests.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

from tracelift_ray.dataset.code_rules import edits
from tracelift_ray.dataset.code_rules import value_edits as values
from tracelift_ray.dataset.code_rules.edits import Edit
from tracelift_ray.dataset.code_rules.shapes import called

ALGORITHM, OFF_BY_ONE, EDGE_CASE, STRUCTURE = (
    "wrong_algorithm",
    "off_by_one",
    "missed_edge_case",
    "wrong_data_structure",
)
_OTHER_OPERATION: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
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
_OTHER_CALL = {
    "max": "min", "min": "max", "all": "any", "any": "all", "upper": "lower", "lower": "upper", "floor": "ceil",
    "ceil": "floor", "nlargest": "nsmallest", "nsmallest": "nlargest", "sin": "cos", "cos": "sin", "isdigit": "isalpha",
    "isalpha": "isdigit", "isupper": "islower", "islower": "isupper", "startswith": "endswith",
    "endswith": "startswith",
    "keys": "values", "values": "keys", "bisect_left": "bisect_right", "bisect_right": "bisect_left",
    "search": "fullmatch", "match": "fullmatch", "combinations": "permutations",
}  # fmt: skip
#: Calls that look at every item of their argument.
_OF_ALL_ITEMS = ("sum", "max", "min", "len", "Counter", "sorted", "set", "list", "tuple", "any", "all")
_ORDERED = {"sorted": "set", "set": "list", "Counter": "set", "tuple": "set", "list": "set"}


@dataclass(frozen=True)
class Mutation:
    """One changed copy of a function.

    Attributes:
        kind: what kind of mistake it is.
        line: the line of the program at which it was made.
        function: the changed copy.
        now_a_set: the variable that became a set; empty for other changes.
    """

    kind: str
    line: int
    function: ast.FunctionDef
    now_a_set: str = ""


def mutations(function: ast.FunctionDef) -> Iterator[Mutation]:
    """Every change that this module knows for ``function``, in the order of its nodes."""
    count = sum(1 for _ in ast.walk(function))
    for at in range(count):
        node = _node(function, at)
        for kind, change in (*_changes(node), *_other_values(node)):
            changed = copy.deepcopy(function)
            target = _node(changed, at)
            if change(changed, target):
                now_a_set = target.targets[0].id if change is edits.set_for_list else ""  # type: ignore[attr-defined]
                yield Mutation(kind, getattr(target, "lineno", function.lineno), changed, now_a_set)


def _node(function: ast.FunctionDef, at: int) -> ast.AST:
    for index, node in enumerate(ast.walk(function)):
        if index == at:
            return node
    raise IndexError(at)


def _changes(node: ast.AST) -> list[tuple[str, Edit]]:
    """The changes that apply to a node. A change edits the node of the copy; False: it did not apply after all."""
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op):
            return _of_operation(node, op)
        case ast.Compare(ops=[op, *_]):
            return _of_comparison(op)
        case ast.BoolOp():
            return [
                (EDGE_CASE, edits.drop_operand),
                (EDGE_CASE, edits.drop_first_operand),
                (ALGORITHM, edits.other_joint),
            ]
        case ast.Call():
            return _of_call(node)
        case ast.If():
            return [(EDGE_CASE, edits.drop_branch)]
        case ast.IfExp():
            return [(EDGE_CASE, edits.drop_condition)]
        case ast.comprehension(ifs=[_, *_]):
            return [(EDGE_CASE, edits.drop_filter)]
        case ast.Subscript(slice=ast.Slice()):
            return [(OFF_BY_ONE, edits.longer_slice), (OFF_BY_ONE, edits.later_slice), (ALGORITHM, edits.other_end)]
        case ast.Subscript():
            return [(OFF_BY_ONE, edits.next_place), (ALGORITHM, edits.last_place)]
        case ast.Assign(value=ast.Constant(value=int())):
            return [(OFF_BY_ONE, edits.next_start)]
        case ast.Assign(value=ast.List(elts=[])):
            return [(STRUCTURE, edits.set_for_list)]
        case ast.Return(value=ast.Constant(value=bool())):
            return [(ALGORITHM, edits.other_truth)]
    return []


def _other_values(node: ast.AST) -> list[tuple[str, Edit]]:
    """The changes that put another value where one is used."""
    match node:
        case ast.Name(ctx=ast.Load()):
            return [(ALGORITHM, values.other_input)]
        case ast.For() | ast.comprehension():
            some = [(EDGE_CASE, values.only_where(condition)) for condition in values.SOME_ITEMS]
            return [(OFF_BY_ONE, values.without_first_item), *some]
        case ast.Return(value=ast.Constant(value=str())):
            return [(ALGORITHM, values.other_text)]
        case ast.BinOp(op=ast.Add() | ast.Mult() | ast.Div()):
            changes = (values.next_factor, values.rounded_factor, values.without_last_term)
            return [(ALGORITHM, change) for change in changes]
        case ast.Call(func=ast.Name(id=name)) if name in _OF_ALL_ITEMS:
            return [(OFF_BY_ONE, values.without_first_item)]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[ast.Constant(), *_]):
            kinds = {"often": OFF_BY_ONE, "which": ALGORITHM, "where": EDGE_CASE}
            found: list[tuple[str, Edit]] = [
                (kinds[what], values.other_pattern(old, new))
                for what, pairs in values.PATTERN_CHANGES.items()
                for old, new in pairs
            ]
            return [*found, (ALGORITHM, values.other_replacement)] if called(node) == "sub" else found
        case ast.Call(func=ast.Attribute(attr="replace")):
            return [(ALGORITHM, values.other_replacement), (ALGORITHM, values.exchanged_arguments)]
    return []


def _of_operation(node: ast.AST, op: ast.operator) -> list[tuple[str, Edit]]:
    found: list[tuple[str, Edit]] = [
        (ALGORITHM, edits.setting("op", other)) for other in _OTHER_OPERATION.get(type(op), ())
    ]
    right = node.right if isinstance(node, ast.BinOp) else None
    by = node.value if isinstance(node, ast.AugAssign) else right
    if isinstance(by, ast.Constant) and by.value == 1:
        found = [(kind, change) for kind, change in found if isinstance(op, ast.Add | ast.Sub)][:1]
    if isinstance(right, ast.Constant) and isinstance(right.value, int) and isinstance(op, ast.Add | ast.Sub):
        found.append((OFF_BY_ONE, edits.without_right if right.value == 1 else edits.next_right))
    elif isinstance(right, ast.Constant) and isinstance(right.value, int) and not isinstance(right.value, bool):
        found.append((ALGORITHM, edits.next_right))
    sided = ast.Sub | ast.Div | ast.Mod | ast.FloorDiv | ast.Pow
    if isinstance(node, ast.BinOp) and isinstance(op, sided) and not isinstance(right, ast.Constant):
        found.append((ALGORITHM, edits.exchange_sides))
    return found


def _of_comparison(op: ast.cmpop) -> list[tuple[str, Edit]]:
    found: list[tuple[str, Edit]] = []
    if type(op) in _NEXT_RELATION:
        found.append((OFF_BY_ONE, edits.relating(_NEXT_RELATION[type(op)])))
    if type(op) in _OTHER_RELATION:
        found.append((ALGORITHM, edits.relating(_OTHER_RELATION[type(op)])))
    found.append((ALGORITHM, edits.other_bound))
    return found


def _of_call(node: ast.Call) -> list[tuple[str, Edit]]:
    name = called(node)
    found: list[tuple[str, Edit]] = []
    if name == "range":
        found += [(OFF_BY_ONE, edits.longer_range), (OFF_BY_ONE, edits.shorter_range), (OFF_BY_ONE, edits.later_range)]
    if name in _OTHER_CALL:
        found.append((ALGORITHM, edits.calling(_OTHER_CALL[name])))
    if name in ("sorted", "sort"):
        found.append((ALGORITHM, edits.other_order))
    if name == "sorted" and any(keyword.arg == "key" for keyword in node.keywords):
        found.append((ALGORITHM, edits.without_key))
    if name in _ORDERED and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        found.append((STRUCTURE, edits.calling(_ORDERED[name])))
    if name == "abs":
        found.append((EDGE_CASE, edits.without_call))
    return found
