"""Says the expressions of a program by templates: ``x[i + 1] % 2 == 0`` is "(item (i + 1) of x) mod 2 equals 0".

Variables keep their names. A part that could be read with its neighbours in two ways stands in parentheses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from tracelift_ray.dataset.pipeline.stages import Refused

_ORDINALS = ("first", "second", "third", "fourth")
#: Operations in symbols, with how tightly they bind; and those in words.
_SYMBOLS: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 1), ast.Sub: ("-", 1), ast.Mult: ("\u00d7", 2), ast.Div: ("\u00f7", 2), ast.Mod: ("mod", 2),
    ast.Pow: ("to the power of", 3),
}  # fmt: skip
_WORDS: dict[type[ast.operator], str] = {
    ast.FloorDiv: "the whole part of {} \u00f7 {}", ast.BitAnd: "the common part of {} and {}",
    ast.BitOr: "the union of {} and {}", ast.BitXor: "the exclusive or of {} and {}",
    ast.LShift: "{} shifted left by {} bits", ast.RShift: "{} shifted right by {} bits",
}  # fmt: skip
_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equals", ast.NotEq: "differs from", ast.Lt: "is less than", ast.LtE: "is at most",
    ast.Gt: "is greater than", ast.GtE: "is at least", ast.In: "is in", ast.NotIn: "is not in", ast.Is: "is",
    ast.IsNot: "is not",
}  # fmt: skip
#: Calls by name and number of arguments, the object of a method being the first; others are "the result of NAME for".
_CALLS: dict[tuple[str, int], str] = {
    ("len", 1): "the length of {}", ("sum", 1): "the sum of {}", ("abs", 1): "the absolute value of {}",
    ("set", 1): "the distinct items of {}", ("sorted", 1): "{} sorted", ("reversed", 1): "{} reversed",
    ("list", 1): "the list of {}", ("tuple", 1): "the tuple of {}", ("dict", 1): "the dictionary of {}",
    ("str", 1): "{} as text", ("int", 1): "{} as a whole number", ("float", 1): "{} as a decimal number",
    ("int", 2): "{} read in base {}", ("round", 1): "{} rounded", ("round", 2): "{} rounded to {} decimals",
    ("pow", 2): "{} to the power of {}", ("ord", 1): "the character code of {}", ("bin", 1): "{} in binary",
    ("chr", 1): "the character with code {}", ("sqrt", 1): "the square root of {}", ("floor", 1): "{} rounded down",
    ("ceil", 1): "{} rounded up", ("gcd", 2): "the greatest common divisor of {} and {}", ("any", 1): "any of {}",
    ("all", 1): "every one of {}", ("zip", 2): "{} and {} side by side", ("isinstance", 2): "whether {} is a {}",
    ("enumerate", 1): "{} with positions", ("bool", 1): "whether {}", ("Counter", 1): "the counts of the items of {}",
    ("type", 1): "the type of {}", ("lower", 1): "{} in lower case", ("upper", 1): "{} in upper case",
    ("strip", 1): "{} without spaces around it", ("split", 1): "the words of {}", ("copy", 1): "a copy of {}",
    ("split", 2): "the parts of {0} between {1}", ("join", 2): "{1} joined by {0}", ("keys", 1): "the keys of {}",
    ("count", 2): "the count of {1} in {0}", ("index", 2): "the position of {1} in {0}",
    ("find", 2): "the position of {1} in {0}", ("replace", 3): "{} with {} replaced by {}",
    ("values", 1): "the values of {}", ("items", 1): "the keys and values of {}",
    ("get", 2): "the value that {} has for {}", ("get", 3): "the value that {} has for {}, or {} where it has none",
    ("pop", 1): "the last item, taken off {}", ("pop", 2): "the item at {1}, taken out of {0}",
    ("startswith", 2): "whether {} starts with {}", ("endswith", 2): "whether {} ends with {}",
    ("isdigit", 1): "whether {} is made of digits", ("isalpha", 1): "whether {} is made of letters",
    ("isupper", 1): "whether {} is in upper case", ("islower", 1): "whether {} is in lower case",
    ("search", 2): "a match of the pattern {} somewhere in {}", ("findall", 2): "all matches of the pattern {} in {}",
    ("match", 2): "a match of the pattern {} at the start of {}", ("fullmatch", 2): "a match of all of {1} with {0}",
    ("sub", 3): "{2} with matches of the pattern {0} replaced by {1}", ("map", 2): "{} of each item of {}",
    ("filter", 2): "the items of {1} that {0} keeps", ("heappop", 1): "the smallest item, taken off {}",
    ("nlargest", 2): "the {} largest items of {}", ("nsmallest", 2): "the {} smallest items of {}",
    ("combinations", 2): "all choices of {1} items of {0}", ("permutations", 2): "all orders of {1} items of {0}",
    ("set", 0): "an empty set", ("dict", 0): "an empty dictionary", ("list", 0): "an empty list",
}  # fmt: skip
_CLAUSES = (ast.Compare, ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp)
_MODULES = {"math", "cmath", "re", "heapq", "hq", "collections", "ct", "itertools", "bisect", "functools", "operator"}


def say(node: ast.expr) -> str:
    """An expression in words. Raises Refused for forms without a template."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=value):
            return _constant(value)
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) in _WORDS:
                return _WORDS[type(op)].format(tight(left), tight(right))
            sign, level = _SYMBOLS[type(op)]
            return f"{tight(left, level + (sign == 'mod'))} {sign} {tight(right, level + 1)}"
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return f"-{tight(inner)}"
        case ast.UnaryOp(op=ast.Not()) | ast.Compare() | ast.BoolOp():
            return condition(node)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return f"{say(body)} if {condition(test)}, and {say(orelse)} otherwise"
        case ast.Subscript(value=whole, slice=ast.Slice() as part):
            return _slice(part_of(whole), part)
        case ast.Subscript(value=whole, slice=index):
            return _item(part_of(whole), index)
        case ast.Attribute(value=whole, attr=name):
            return name if isinstance(whole, ast.Name) and whole.id in _MODULES else f"{name} of {part_of(whole)}"
        case ast.Call():
            return _call(node)
        case ast.Lambda(args=arguments, body=body):
            return f"the rule that turns {listed([a.arg for a in arguments.args])} into {loose(body)}"
        case ast.JoinedStr(values=parts):
            return f"the text of {listed([loose(part) for part in parts])}"
        case ast.FormattedValue(value=inner) | ast.Starred(value=inner):
            return say(inner)
    return _collection(node)


def condition(node: ast.expr) -> str:
    """An expression that is true or false, as a clause."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            parts = [f"{_RELATIONS[type(op)]} {loose(other)}" for op, other in zip(ops, others, strict=True)]
            return f"{loose(left)} {' and '.join(parts)}"
        case ast.BoolOp(op=op, values=values):
            clauses = [f"({condition(v)})" if isinstance(v, ast.BoolOp) else condition(v) for v in values]
            return (" and " if isinstance(op, ast.And) else " or ").join(clauses)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            if isinstance(inner, ast.Compare | ast.BoolOp) or say(inner).startswith(("whether ", "a match ")):
                return f"it does not hold that {condition(inner)}"
            return f"{say(inner)} is empty, zero or false"
        case ast.Call():
            said = f"there is {said}" if (said := say(node)).startswith("a match ") else said
            return said.removeprefix("whether ") if said.startswith(("whether ", "there ")) else f"{said} holds"
        case ast.Name(id=name):
            return f"{name} is neither empty, zero nor false"
    return say(node)


def loose(node: ast.expr | None) -> str:
    """An expression inside a phrase: clauses and comprehensions stand in parentheses."""
    assert node is not None
    return f"({say(node)})" if isinstance(node, _CLAUSES) else say(node)


def part_of(node: ast.expr) -> str:
    """An expression after "of": operations stand in parentheses too."""
    return f"({say(node)})" if isinstance(node, ast.BinOp) else loose(node)


def tight(node: ast.expr, level: int = 9) -> str:
    """An expression beside the sign of an operation: all of several words stand in parentheses, but for operations
    in signs that bind at least as tightly as ``level``."""
    said = say(node)
    if isinstance(node, ast.BinOp) and level <= _SYMBOLS.get(type(node.op), ("", 0))[1] < 3:
        return said
    return f"({said})" if " " in said and not isinstance(node, ast.Constant) else said


def listed(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def called(node: ast.AST) -> str:
    """The name of what a call calls, without its module or object; empty for anything else."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name
    return ""


def call_of(call: ast.Call) -> tuple[str, list[ast.expr]]:
    """What a call calls and with what, the object of a method first; modules are no objects."""
    match call.func:
        case ast.Attribute(value=owner) if not (isinstance(owner, ast.Name) and owner.id in _MODULES):
            return called(call), [owner, *call.args]
    return called(call), list(call.args)


def span(call: ast.Call) -> str:
    """The numbers of a ``range``: `` from a up to but not including b``."""
    start, end, *step = call.args if len(call.args) > 1 else [ast.Constant(value=0), *call.args]
    steps = f" in steps of {loose(step[0])}" if step else ""
    return f" from {loose(start)} up to but not including {loose(end)}{steps}"


def _constant(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    if isinstance(value, str):
        return {"": "an empty text", " ": "a space"}.get(value, f'"{value}"')
    return str(value)


def _item(whole: str, index: ast.expr) -> str:
    match index:
        case ast.Constant(value=int() as at) if 0 <= at < len(_ORDINALS):
            return f"the {_ORDINALS[at]} item of {whole}"
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):
            return f"the last item of {whole}"
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as at)):
            return f"the item of {whole} at place {at} from the end"
    return f"item {tight(index)} of {whole}"


def _slice(whole: str, part: ast.Slice) -> str:
    match part:
        case ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
            return f"{whole} in reverse order"
        case ast.Slice(lower=None, upper=None, step=None):
            return f"a copy of {whole}"
        case ast.Slice(lower=None, upper=ast.UnaryOp(op=ast.USub(), operand=count), step=None):
            return f"{whole} without its last {say(count)} items"
        case ast.Slice(lower=None, upper=ast.expr() as end, step=None):
            return f"the first {tight(end)} items of {whole}"
        case ast.Slice(lower=ast.UnaryOp(op=ast.USub(), operand=count), upper=None, step=None):
            return f"the last {say(count)} items of {whole}"
    begin = f" from position {loose(part.lower)}" if part.lower is not None else ""
    until = f" up to but not including {loose(part.upper)}" if part.upper is not None else " on" if begin else ""
    if part.step is not None:
        return f"the items of {whole}{begin}{until} in steps of {loose(part.step)}"
    return f"the part of {whole}{begin}{until}"


def _call(node: ast.Call) -> str:
    name, arguments = call_of(node)
    match node:
        case ast.Call(func=ast.Name(id="map"), args=[ast.Lambda(args=one, body=body), whole]):
            return f"{loose(body)} for each {one.args[0].arg} in {part_of(whole)}"
        case ast.Call(func=ast.Name(id="filter"), args=[ast.Lambda(args=one, body=body), whole]):
            return f"the items {one.args[0].arg} of {part_of(whole)} for which {condition(body)}"
        case ast.Call(func=ast.Name(id="any" | "all"), args=[ast.GeneratorExp() | ast.ListComp() as every]):
            clauses = _loops(every.generators).replace("each", "some" if name == "any" else "every", 1)
            return f"whether {condition(every.elt)}{clauses}"
        case ast.Call(func=ast.Name(id="range")):
            return f"the numbers{span(node)}"
    if not name:
        raise Refused("no words for a call of a computed function")
    slots = listed(["{}"] * len(arguments))
    template = _CALLS.get((name, len(arguments)), f"the result of {name}{' for ' * bool(slots)}{slots}")
    if name in ("max", "min") and slots:
        template = f"the {'largest' if name == 'max' else 'smallest'} of {slots}"
    said = [part_of(argument) for argument in arguments]
    if leading := re.match(r"\{(\d?)\}", template):  # "a + b as text" would leave open what is meant
        said[int(leading[1] or 0)] = tight(arguments[int(leading[1] or 0)])
    return template.format(*said) + "".join(_option(keyword) for keyword in node.keywords)


def _option(keyword: ast.keyword) -> str:
    match keyword:
        case ast.keyword(arg="reverse", value=ast.Constant(value=descending)):
            return " in descending order" if descending else ""
        case ast.keyword(arg="key", value=ast.Lambda(args=arguments, body=body)):
            return f", comparing {loose(body)} for each {listed([each.arg for each in arguments.args])}"
        case ast.keyword(arg="key", value=value):
            return f", comparing {say(value)} of each item"
    return f" with {keyword.arg or 'the options'} {loose(keyword.value)}"


def _loops(generators: Sequence[ast.comprehension]) -> str:
    """The clauses of a comprehension: `` for each x in y where …``."""
    said = ""
    for loop in generators:
        said += f" for each {say(loop.target)} in {part_of(loop.iter)}"
        said += "".join(f"{' and' if at else ' where'} {condition(test)}" for at, test in enumerate(loop.ifs))
    return said


def _collection(node: ast.expr) -> str:
    kind = "set" if isinstance(node, ast.Set | ast.SetComp) else "list"
    match node:
        case ast.List(elts=[]) | ast.Dict(keys=[]):
            return "an empty list" if isinstance(node, ast.List) else "an empty dictionary"
        case ast.Tuple(elts=parts):
            return f"({', '.join(say(part) for part in parts)})"
        case ast.List(elts=parts) | ast.Set(elts=parts):
            return f"the {kind} of {listed([loose(part) for part in parts])}"
        case ast.Dict(keys=keys, values=values):
            pairs = [f"{loose(key)} to {loose(value)}" for key, value in zip(keys, values, strict=True) if key]
            return f"the dictionary from {listed(pairs)}"
        case ast.ListComp(elt=item, generators=generators) | ast.SetComp(elt=item, generators=generators):
            return f"the {kind} of {loose(item)}{_loops(generators)}"
        case ast.GeneratorExp(elt=item, generators=generators):
            return f"{loose(item)}{_loops(generators)}"
        case ast.DictComp(key=key, value=value, generators=generators):
            return f"the dictionary from {say(key)} to {loose(value)}{_loops(generators)}"
    raise Refused("no words for an expression")
