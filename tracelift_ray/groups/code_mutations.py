"""Small changes to a reference program, each a mistake that a planner could make: where it is, and of what kind.

A change is described by where it applies and made on a copy, so that the program itself stays as it is. Whether a
change does harm is not decided here; whoever uses it runs the changed program on the problem's tests.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tracelift_ray.groups.code_shapes import called

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
    "isalpha": "isdigit", "isupper": "islower", "islower": "isupper", "startswith": "endswith", "endswith": "startswith",
    "keys": "values", "values": "keys", "bisect_left": "bisect_right", "bisect_right": "bisect_left",
    "search": "fullmatch", "match": "fullmatch", "combinations": "permutations",
}  # fmt: skip
_ORDERED = {"sorted": "set", "set": "list", "Counter": "set", "tuple": "set", "list": "set"}
_MAX_SPAN_CONSTANT = 1_000


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
        for kind, change in _changes(_node(function, at)):
            changed = copy.deepcopy(function)
            target = _node(changed, at)
            if change(changed, target):
                now_a_set = target.targets[0].id if change is _set_for_list else ""  # type: ignore[attr-defined]
                yield Mutation(kind, getattr(target, "lineno", function.lineno), changed, now_a_set)


Change = Callable[[ast.FunctionDef, ast.AST], bool]


def _node(function: ast.FunctionDef, at: int) -> ast.AST:
    for index, node in enumerate(ast.walk(function)):
        if index == at:
            return node
    raise IndexError(at)


def _changes(node: ast.AST) -> list[tuple[str, Change]]:
    """The changes that apply to a node. A change edits the node of the copy; False: it did not apply after all."""
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op):
            return _of_operation(node, op)
        case ast.Compare(ops=[op, *_]):
            return _of_comparison(op)
        case ast.BoolOp():
            return [(EDGE_CASE, _drop_operand), (EDGE_CASE, _drop_first_operand), (ALGORITHM, _other_joint)]
        case ast.Call():
            return _of_call(node)
        case ast.If():
            return [(EDGE_CASE, _drop_branch)]
        case ast.IfExp():
            return [(EDGE_CASE, _drop_condition)]
        case ast.comprehension(ifs=[_, *_]):
            return [(EDGE_CASE, _drop_filter)]
        case ast.Subscript(slice=ast.Slice()):
            return [(OFF_BY_ONE, _longer_slice), (OFF_BY_ONE, _later_slice), (ALGORITHM, _other_end)]
        case ast.Subscript():
            return [(OFF_BY_ONE, _next_place), (ALGORITHM, _last_place)]
        case ast.Assign(value=ast.Constant(value=int())):
            return [(OFF_BY_ONE, _next_start)]
        case ast.Assign(value=ast.List(elts=[])):
            return [(STRUCTURE, _set_for_list)]
        case ast.Return(value=ast.Constant(value=bool())):
            return [(ALGORITHM, _other_truth)]
    return []


def _of_operation(node: ast.AST, op: ast.operator) -> list[tuple[str, Change]]:
    found: list[tuple[str, Change]] = [
        (ALGORITHM, _setting("op", other)) for other in _OTHER_OPERATION.get(type(op), ())
    ]
    right = node.right if isinstance(node, ast.BinOp) else None
    if isinstance(right, ast.Constant) and isinstance(right.value, int) and isinstance(op, ast.Add | ast.Sub):
        found.append((OFF_BY_ONE, _without_right if right.value == 1 else _next_right))
    elif isinstance(right, ast.Constant) and isinstance(right.value, int) and not isinstance(right.value, bool):
        found.append((ALGORITHM, _next_right))
    sided = ast.Sub | ast.Div | ast.Mod | ast.FloorDiv | ast.Pow
    if isinstance(node, ast.BinOp) and isinstance(op, sided) and not isinstance(right, ast.Constant):
        found.append((ALGORITHM, _exchange_sides))
    return found


def _of_comparison(op: ast.cmpop) -> list[tuple[str, Change]]:
    found: list[tuple[str, Change]] = []
    if type(op) in _NEXT_RELATION:
        found.append((OFF_BY_ONE, _relating(_NEXT_RELATION[type(op)])))
    if type(op) in _OTHER_RELATION:
        found.append((ALGORITHM, _relating(_OTHER_RELATION[type(op)])))
    found.append((ALGORITHM, _other_bound))
    return found


def _of_call(node: ast.Call) -> list[tuple[str, Change]]:
    name = called(node)
    found: list[tuple[str, Change]] = []
    if name == "range":
        found += [(OFF_BY_ONE, _longer_range), (OFF_BY_ONE, _shorter_range), (OFF_BY_ONE, _later_range)]
    if name in _OTHER_CALL:
        found.append((ALGORITHM, _calling(_OTHER_CALL[name])))
    if name in ("sorted", "sort"):
        found.append((ALGORITHM, _other_order))
    if name == "sorted" and any(keyword.arg == "key" for keyword in node.keywords):
        found.append((ALGORITHM, _without_key))
    if name in _ORDERED and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        found.append((STRUCTURE, _calling(_ORDERED[name])))
    if name == "abs":
        found.append((EDGE_CASE, _without_call))
    return found


def _setting(field: str, value: type[ast.AST]) -> Change:
    def change(function: ast.FunctionDef, node: ast.AST) -> bool:
        setattr(node, field, value())
        return True

    return change


def _relating(relation: type[ast.cmpop]) -> Change:
    def change(function: ast.FunctionDef, node: ast.AST) -> bool:
        assert isinstance(node, ast.Compare)
        node.ops[0] = relation()
        return True

    return change


def _calling(name: str) -> Change:
    def change(function: ast.FunctionDef, node: ast.AST) -> bool:
        assert isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name):
            node.func = ast.Name(id=name, ctx=ast.Load())
        elif isinstance(node.func, ast.Attribute):
            node.func.attr = name
        return True

    return change


def _replace(function: ast.FunctionDef, old: ast.AST, new: ast.expr) -> bool:
    """Put ``new`` where the expression ``old`` stands."""
    for node in ast.walk(function):
        for field, value in ast.iter_fields(node):
            if value is old:
                setattr(node, field, new)
                return True
            if isinstance(value, list) and any(each is old for each in value):
                value[[each is old for each in value].index(True)] = new
                return True
    return False


def _number(value: int) -> ast.expr:
    return ast.Constant(value=value) if value >= 0 else ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=-value))


def _shifted(node: ast.expr, by: int) -> ast.expr:
    """``node + by``, with its own constant changed where it has one."""
    match node:
        case ast.Constant(value=int() as value):
            return _number(value + by)
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant(value=int() as value)):
            return _with_offset(left, value + by)
        case ast.BinOp(left=left, op=ast.Sub(), right=ast.Constant(value=int() as value)):
            return _with_offset(left, by - value)
    return _with_offset(node, by)


def _with_offset(node: ast.expr, offset: int) -> ast.expr:
    if offset == 0:
        return node
    return ast.BinOp(left=node, op=ast.Add() if offset > 0 else ast.Sub(), right=ast.Constant(value=abs(offset)))


def _range_bounds(node: ast.AST) -> tuple[ast.Call, int]:
    """A range call and which argument is its end."""
    assert isinstance(node, ast.Call)
    return node, 0 if len(node.args) == 1 else 1


def _longer_range(function: ast.FunctionDef, node: ast.AST) -> bool:
    call, end = _range_bounds(node)
    call.args[end] = _shifted(call.args[end], 1)
    return True


def _shorter_range(function: ast.FunctionDef, node: ast.AST) -> bool:
    call, end = _range_bounds(node)
    call.args[end] = _shifted(call.args[end], -1)
    return True


def _later_range(function: ast.FunctionDef, node: ast.AST) -> bool:
    call, end = _range_bounds(node)
    if end == 0:
        call.args.insert(0, ast.Constant(value=1))
    else:
        call.args[0] = _shifted(call.args[0], 1)
    return True


def _without_right(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BinOp)
    return _replace(function, node, node.left)


def _next_right(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)
    if not isinstance(node.right.value, int) or abs(node.right.value) > _MAX_SPAN_CONSTANT:
        return False
    node.right = _number(node.right.value + 1)
    return True


def _exchange_sides(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BinOp)
    node.left, node.right = node.right, node.left
    return True


def _other_bound(function: ast.FunctionDef, node: ast.AST) -> bool:
    """Compare with the next whole number."""
    assert isinstance(node, ast.Compare)
    right = node.comparators[0]
    if len(node.ops) != 1 or not isinstance(right, ast.Constant) or type(right.value) is not int:
        return False
    node.comparators[0] = _number(right.value + 1)
    return True


def _other_joint(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return True


def _drop_operand(function: ast.FunctionDef, node: ast.AST) -> bool:
    return _without_operand(function, node, -1)


def _drop_first_operand(function: ast.FunctionDef, node: ast.AST) -> bool:
    return _without_operand(function, node, 0)


def _without_operand(function: ast.FunctionDef, node: ast.AST, at: int) -> bool:
    assert isinstance(node, ast.BoolOp)
    del node.values[at]
    return _replace(function, node, node.values[0]) if len(node.values) == 1 else True


def _drop_branch(function: ast.FunctionDef, node: ast.AST) -> bool:
    """The case that a branch is for is forgotten: the branch is gone, or what is otherwise done is always done."""
    assert isinstance(node, ast.If)
    for parent in ast.walk(function):
        for field in ("body", "orelse"):
            block = getattr(parent, field, None)
            if isinstance(block, list) and any(each is node for each in block):
                at = [each is node for each in block].index(True)
                block[at : at + 1] = node.orelse
                return bool(block) or field == "orelse"
    return False


def _drop_condition(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.IfExp)
    return _replace(function, node, node.body)


def _drop_filter(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.comprehension)
    del node.ifs[-1]
    return True


def _longer_slice(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)
    if node.slice.upper is None:
        return False
    node.slice.upper = _shifted(node.slice.upper, 1)
    return True


def _later_slice(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)
    if node.slice.lower is None:
        return False
    node.slice.lower = _shifted(node.slice.lower, 1)
    return True


def _other_end(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)
    if (node.slice.lower is None) == (node.slice.upper is None):
        return False
    node.slice.lower, node.slice.upper = node.slice.upper, node.slice.lower
    return True


def _next_place(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript)
    if isinstance(node.slice, ast.Constant) and type(node.slice.value) is not int:
        return False
    if isinstance(node.slice, ast.Tuple | ast.UnaryOp):
        return False
    node.slice = _shifted(node.slice, 1)
    return True


def _last_place(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript)
    if isinstance(node.slice, ast.Constant) and node.slice.value == 0:
        node.slice = _number(-1)
    elif isinstance(node.slice, ast.UnaryOp):
        node.slice = _number(0)
    else:
        return False
    return True


def _next_start(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    if type(node.value.value) is not int or node.value.value > _MAX_SPAN_CONSTANT:
        return False
    node.value = _number(node.value.value + 1 if node.value.value < 1 else node.value.value - 1)
    return True


def _set_for_list(function: ast.FunctionDef, node: ast.AST) -> bool:
    """A list that is only appended to becomes a set."""
    assert isinstance(node, ast.Assign)
    target = node.targets[0]
    if not isinstance(target, ast.Name):
        return False
    node.value = ast.Call(func=ast.Name(id="set", ctx=ast.Load()), args=[], keywords=[])
    changed = False
    for each in ast.walk(function):
        match each:
            case ast.Subscript(value=ast.Name(id=name)) if name == target.id:
                return False
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method) as func) if name == target.id:
                if method != "append":
                    return False
                func.attr = "add"
                changed = True
    return changed


def _other_truth(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)
    node.value = ast.Constant(value=not node.value.value)
    return True


def _other_order(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    for keyword in node.keywords:
        if keyword.arg == "reverse":
            node.keywords.remove(keyword)
            return True
    node.keywords.append(ast.keyword(arg="reverse", value=ast.Constant(value=True)))
    return True


def _without_key(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    node.keywords = [keyword for keyword in node.keywords if keyword.arg != "key"]
    return True


def _without_call(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    return _replace(function, node, node.args[0])
