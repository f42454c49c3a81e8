"""The edits behind ``code_mutations.py``: each changes one node of a function in place, or says that it cannot."""

from __future__ import annotations

import ast
from collections.abc import Callable

#: Changes a node of a function; False: it did not apply after all, and the function may be spoiled.
Edit = Callable[[ast.FunctionDef, ast.AST], bool]
_MAX_NUMBER = 1_000


def setting(field: str, value: type[ast.AST]) -> Edit:
    def edit(function: ast.FunctionDef, node: ast.AST) -> bool:
        setattr(node, field, value())
        return True

    return edit


def relating(relation: type[ast.cmpop]) -> Edit:
    def edit(function: ast.FunctionDef, node: ast.AST) -> bool:
        assert isinstance(node, ast.Compare)
        node.ops[0] = relation()
        return True

    return edit


def calling(name: str) -> Edit:
    def edit(function: ast.FunctionDef, node: ast.AST) -> bool:
        assert isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name):
            node.func = ast.Name(id=name, ctx=ast.Load())
        elif isinstance(node.func, ast.Attribute):
            node.func.attr = name
        return True

    return edit


def replace_node(function: ast.FunctionDef, old: ast.AST, new: ast.expr) -> bool:
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


def longer_range(function: ast.FunctionDef, node: ast.AST) -> bool:
    call, end = _range_bounds(node)
    call.args[end] = _shifted(call.args[end], 1)
    return True


def shorter_range(function: ast.FunctionDef, node: ast.AST) -> bool:
    call, end = _range_bounds(node)
    call.args[end] = _shifted(call.args[end], -1)
    return True


def later_range(function: ast.FunctionDef, node: ast.AST) -> bool:
    call, end = _range_bounds(node)
    if end == 0:
        call.args.insert(0, ast.Constant(value=1))
    else:
        call.args[0] = _shifted(call.args[0], 1)
    return True


def without_right(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BinOp)
    return replace_node(function, node, node.left)


def next_right(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)
    if not isinstance(node.right.value, int) or abs(node.right.value) > _MAX_NUMBER:
        return False
    node.right = _number(node.right.value + 1)
    return True


def exchange_sides(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BinOp)
    node.left, node.right = node.right, node.left
    return True


def other_bound(function: ast.FunctionDef, node: ast.AST) -> bool:
    """Compare with the next whole number."""
    assert isinstance(node, ast.Compare)
    right = node.comparators[0]
    if len(node.ops) != 1 or not isinstance(right, ast.Constant) or type(right.value) is not int:
        return False
    node.comparators[0] = _number(right.value + 1)
    return True


def other_joint(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return True


def drop_operand(function: ast.FunctionDef, node: ast.AST) -> bool:
    return _without_operand(function, node, -1)


def drop_first_operand(function: ast.FunctionDef, node: ast.AST) -> bool:
    return _without_operand(function, node, 0)


def _without_operand(function: ast.FunctionDef, node: ast.AST, at: int) -> bool:
    assert isinstance(node, ast.BoolOp)
    del node.values[at]
    return replace_node(function, node, node.values[0]) if len(node.values) == 1 else True


def drop_branch(function: ast.FunctionDef, node: ast.AST) -> bool:
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


def drop_condition(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.IfExp)
    return replace_node(function, node, node.body)


def drop_filter(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.comprehension)
    del node.ifs[-1]
    return True


def longer_slice(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)
    if node.slice.upper is None:
        return False
    node.slice.upper = _shifted(node.slice.upper, 1)
    return True


def later_slice(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)
    if node.slice.lower is None:
        return False
    node.slice.lower = _shifted(node.slice.lower, 1)
    return True


def other_end(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)
    if (node.slice.lower is None) == (node.slice.upper is None):
        return False
    node.slice.lower, node.slice.upper = node.slice.upper, node.slice.lower
    return True


def next_place(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript)
    if isinstance(node.slice, ast.Constant) and type(node.slice.value) is not int:
        return False
    if isinstance(node.slice, ast.Tuple | ast.UnaryOp):
        return False
    node.slice = _shifted(node.slice, 1)
    return True


def last_place(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Subscript)
    if isinstance(node.slice, ast.Constant) and node.slice.value == 0:
        node.slice = _number(-1)
    elif isinstance(node.slice, ast.UnaryOp):
        node.slice = _number(0)
    else:
        return False
    return True


def next_start(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    if type(node.value.value) is not int or node.value.value > _MAX_NUMBER:
        return False
    node.value = _number(node.value.value + 1 if node.value.value < 1 else node.value.value - 1)
    return True


def set_for_list(function: ast.FunctionDef, node: ast.AST) -> bool:
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


def other_truth(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)
    node.value = ast.Constant(value=not node.value.value)
    return True


def other_order(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    for keyword in node.keywords:
        if keyword.arg == "reverse":
            node.keywords.remove(keyword)
            return True
    node.keywords.append(ast.keyword(arg="reverse", value=ast.Constant(value=True)))
    return True


def without_key(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    node.keywords = [keyword for keyword in node.keywords if keyword.arg != "key"]
    return True


def without_call(function: ast.FunctionDef, node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    return replace_node(function, node, node.args[0])
