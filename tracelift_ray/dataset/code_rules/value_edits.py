"""More edits behind ``code_mutations.py``: another value where one is used, such as an input, a factor, a pattern."""

from __future__ import annotations

import ast

from tracelift_ray.dataset.code_rules.edits import Edit, replace_node
from tracelift_ray.dataset.code_rules.ranges import is_range

#: Changes of a regular expression, by what of it they confuse: how often, which characters, where.
PATTERN_CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    "often": (("+", "*"), ("*", "+"), ("{3}", "{4}"), ("{5}", "{4}"), (",5}", ",4}"), ("{4,", "{5,"), ("?", "")),
    "which": (
        ("[A-Z]", "[a-z]"), ("[a-z]", "[A-Z]"), (r"\w", r"\d"), (r"\d", r"\w"), (r"\s", r"\w"), ("[0-9]", "[a-z]"),
        ("[^", "["),
    ),
    "where": (("^", ""), ("$", ""), (r"\b", "")),
}  # fmt: skip

#: What may be left out of a list or text by mistake: what does not fulfil one of these.
SOME_ITEMS = ("x > 0", "x > 1", "x.isalpha()", "x.islower()", "len(x) > 1")


def next_factor(function: ast.FunctionDef, node: ast.AST) -> bool:
    """A number on the left of an operation is one larger."""
    assert isinstance(node, ast.BinOp)
    if not isinstance(node.left, ast.Constant) or type(node.left.value) is not int:
        return False
    node.left = ast.Constant(value=node.left.value + 1)
    return True


def rounded_factor(function: ast.FunctionDef, node: ast.AST) -> bool:
    """A decimal number loses its decimals."""
    assert isinstance(node, ast.BinOp)
    for side in ("left", "right"):
        value = getattr(node, side)
        if (
            isinstance(value, ast.Constant)
            and isinstance(value.value, float)
            and int(value.value) not in (0, value.value)
        ):
            setattr(node, side, ast.Constant(value=int(value.value)))
            return True
    return False


def without_last_term(function: ast.FunctionDef, node: ast.AST) -> bool:
    """The last term of a sum or factor of a product is forgotten."""
    assert isinstance(node, ast.BinOp)
    return replace_node(function, node, node.left)


def other_input(function: ast.FunctionDef, node: ast.AST) -> bool:
    """The next input of the function stands where one is used."""
    assert isinstance(node, ast.Name)
    inputs = [argument.arg for argument in function.args.args]
    if node.id not in inputs or len(inputs) < 2:
        return False
    node.id = inputs[(inputs.index(node.id) + 1) % len(inputs)]
    return True


def without_first_item(function: ast.FunctionDef, node: ast.AST) -> bool:
    """What is gone through, or handed to a call, starts at its second item."""
    part = ast.Slice(lower=ast.Constant(value=1))
    if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Name):
        node.iter = ast.Subscript(value=node.iter, slice=part, ctx=ast.Load())
        return True
    if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.args[0], ast.Name):
        node.args[0] = ast.Subscript(value=node.args[0], slice=part, ctx=ast.Load())
        return True
    return False


def only_where(condition: str) -> Edit:
    """Some of what is gone through is left out: what does not fulfil a condition of ``x``."""

    def edit(function: ast.FunctionDef, node: ast.AST) -> bool:
        assert isinstance(node, ast.For | ast.comprehension)
        if not isinstance(node.target, ast.Name) or is_range(node.iter):
            return False
        test = ast.parse(condition, mode="eval").body
        for each in ast.walk(test):
            if isinstance(each, ast.Name) and each.id == "x":
                each.id = node.target.id
        if isinstance(node, ast.comprehension):
            node.ifs.append(test)
        else:
            branch = ast.If(test=test, body=node.body, orelse=[])
            node.body = [ast.copy_location(branch, node.body[0])]
        return True

    return edit


def other_text(function: ast.FunctionDef, node: ast.AST) -> bool:
    """A text that is returned becomes another one that the function returns."""
    assert isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)
    texts = [
        each.value.value
        for each in ast.walk(function)
        if isinstance(each, ast.Return) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str)
    ]
    others = [text for text in texts if text != node.value.value]
    if not others:
        return False
    node.value = ast.Constant(value=others[0])
    return True


def other_replacement(function: ast.FunctionDef, node: ast.AST) -> bool:
    """What something is replaced by: nothing instead of a text, or a space instead of nothing."""
    assert isinstance(node, ast.Call)
    if len(node.args) < 2 or not isinstance(node.args[1], ast.Constant) or not isinstance(node.args[1].value, str):
        return False
    node.args[1] = ast.Constant(value="" if node.args[1].value else " ")
    return True


def exchanged_arguments(function: ast.FunctionDef, node: ast.AST) -> bool:
    """The two arguments of a call stand in each other's place."""
    assert isinstance(node, ast.Call)
    node.args[:2] = [node.args[1], node.args[0]]
    return True


def other_pattern(old: str, new: str) -> Edit:
    """One part of a regular expression is another one."""

    def edit(function: ast.FunctionDef, node: ast.AST) -> bool:
        assert isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant)
        pattern = node.args[0].value
        if not isinstance(pattern, str) or old not in pattern:
            return False
        node.args[0] = ast.Constant(value=pattern.replace(old, new, 1))
        return True

    return edit
