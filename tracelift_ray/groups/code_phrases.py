"""Says the expressions of a reference program in English: values as noun phrases, conditions as clauses.

No program text appears in what is said. An expression that this vocabulary has no good words for is refused, with the
construct as the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from tracelift_ray.groups.code_calls import CallWords
from tracelift_ray.groups.code_formulas import formula
from tracelift_ray.groups.code_names import Name, item_noun
from tracelift_ray.groups.code_shapes import NUMBER, TRUTH, UNKNOWN, Shape, bound_shapes, called, shape_of
from tracelift_ray.groups.code_words import Style, bracketed, listed, ordinal, plural, power, small
from tracelift_ray.groups.stages import Refused

_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equals",
    ast.NotEq: "differs from",
    ast.Lt: "is less than",
    ast.LtE: "is at most",
    ast.Gt: "is greater than",
    ast.GtE: "is at least",
    ast.In: "occurs in",
    ast.NotIn: "does not occur in",
    ast.Is: "is",
    ast.IsNot: "is not",
}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_BITS: dict[type[ast.operator], str] = {ast.BitAnd: "AND", ast.BitOr: "OR", ast.BitXor: "XOR"}
_SET_WORDS: dict[type[ast.operator], str] = {
    ast.BitAnd: "the values that {} and {} share",
    ast.BitOr: "the values of {} and {} together",
    ast.BitXor: "the values that are in exactly one of {} and {}",
    ast.Sub: "the values of {} that are not in {}",
}
_CONTAINERS = ("list", "text", "character", "tuple", "set", "dictionary")
_PLACES = 6
_MAX_LISTED = 6


class Phrases:
    """The expressions of one function in one style.

    Args:
        names: the function's variables.
        functions: names of the program's own functions, with what a call of them is called.
    """

    def __init__(self, names: Mapping[str, Name], style: Style, functions: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.style = style
        self.functions = functions
        self.inputs: list[str] = []
        self._calls = CallWords(self)

    def shape(self, node: ast.expr) -> Shape:
        """What an expression holds, as far as it is known."""
        return shape_of(node, {name: known.shape for name, known in self.names.items()})

    def value(self, node: ast.expr) -> str:
        """An expression as a noun phrase. Raises Refused."""
        if not isinstance(node, ast.Name | ast.Constant):
            written = formula(node, self.names)
            if written is not None:
                return written
        match node:
            case ast.Name(id=name):
                return self.name(name)
            case ast.Constant(value=value):
                return self.constant(value)
            case ast.Attribute() | ast.Lambda():
                return self._calls.plain_name(node)
            case ast.BinOp():
                return self._operation(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"minus {bracketed(self.value(operand))}"
            case ast.UnaryOp(op=ast.Not()) | ast.Compare() | ast.BoolOp():
                return f"whether {self.condition(node)}"
            case ast.Subscript():
                return self._part(node)
            case ast.IfExp(test=test, body=body, orelse=other):
                return f"{self.value(body)} if {self.condition(test)}, otherwise {self.value(other)}"
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return self._collected(node, parts)
            case ast.Dict(keys=[]):
                return self.style.pick("empty-dict", "an empty dictionary", "an empty lookup table")
            case ast.Call():
                return self._calls.value(node)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self._comprehension(node)
        raise Refused(f"no words for {type(node).__name__}")

    def name(self, name: str) -> str:
        """The words for a variable."""
        known = self.names.get(name)
        if known is None:
            raise Refused("a name has no meaning of its own")
        return known.words

    def constant(self, value: object) -> str:
        """The words for a literal."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return "nothing"
        if isinstance(value, str):
            return self._literal(value)
        if isinstance(value, int | float):
            return f"{value:g}" if isinstance(value, float) else str(value)
        raise Refused("no words for a literal")

    def _literal(self, text: str) -> str:
        named = {"": "an empty string", " ": "a space", "\n": "a line break", ",": "a comma", "_": "an underscore"}
        if text in named:
            return named[text]
        if not text.isprintable() or len(text) > 60:
            raise Refused("no words for a literal")
        return f'"{text}"'

    def condition(self, node: ast.expr) -> str:
        """An expression that is true or false, as a clause. Raises Refused."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._comparison(left, op, right)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                lefts = [left, *rights[:-1]]
                return listed([self._comparison(*each) for each in zip(lefts, ops, rights, strict=True)])
            case ast.BoolOp(op=op, values=values):
                return self._joined(op, values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.negated(operand)
            case ast.Constant(value=True):
                return "nothing has ended it yet"
            case ast.Call():
                said = self._calls.condition(node)
                if said is not None:
                    return said
        return self._truth(node)

    def _truth(self, node: ast.expr) -> str:
        shape = self.shape(node)
        words = self.value(node)
        if shape.kind == "number":
            return f"{words} is not zero"
        if shape.kind in _CONTAINERS:
            return f"{words} is not empty"
        if isinstance(node, ast.Name) and self.names[node.id].role == "flag":
            return f"{words} is set"
        return f"{words} is true" if shape == TRUTH else f"{words} is neither empty nor zero"

    def _joined(self, op: ast.boolop, values: Sequence[ast.expr]) -> str:
        joint = "and" if isinstance(op, ast.And) else "or"
        mixed = any(isinstance(value, ast.BoolOp) for value in values)
        clauses = [self.condition(value) for value in values]
        if mixed:
            clauses = [f"({c})" if isinstance(v, ast.BoolOp) else c for c, v in zip(clauses, values, strict=True)]
        if len(clauses) > _MAX_LISTED:
            raise Refused("a condition has very many parts")
        return f" {joint} ".join(clauses) if len(clauses) == 2 else listed(clauses, joint)

    def negated(self, node: ast.expr) -> str:
        """The opposite of a condition, as a clause. Raises Refused."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._comparison(left, _OPPOSITE[type(op)](), right)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.condition(operand)
            case ast.Call() if (said := self._calls.negated(node)) is not None:
                return said
        shape = self.shape(node)
        words = self.value(node)
        if shape.kind == "number":
            return f"{words} is zero"
        if shape.kind in _CONTAINERS:
            return f"{words} is empty"
        if isinstance(node, ast.Name) and self.names[node.id].role == "flag":
            return f"{words} is not set"
        return f"{words} is false" if shape == TRUTH else f"{words} is empty or zero"

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        is_equal, is_unequal = isinstance(op, ast.Eq), isinstance(op, ast.NotEq)
        match left, right:
            case ast.BinOp(left=number, op=ast.Mod(), right=divisor), ast.Constant(value=0 | 1 as rest) if (
                is_equal or is_unequal
            ) and self.shape(number) in (NUMBER, UNKNOWN):
                said = self._divisibility(number, divisor, (rest == 0) == is_equal, rest)
                if said is not None:
                    return said
            case ast.Call(func=ast.Name(id="len"), args=[whole]), ast.Constant(value=0) if is_equal or is_unequal:
                return f"{self.value(whole)} is {'' if is_equal else 'not '}empty"
            case _, ast.Constant(value=bool() as truth) if is_equal or is_unequal:
                return self.condition(left) if truth == is_equal else self.negated(left)
        if isinstance(right, ast.Call) and called(right) == "keys" and isinstance(right.func, ast.Attribute):
            right = right.func.value
        relation = _RELATIONS[type(op)]
        if isinstance(op, ast.In | ast.NotIn) and self.shape(right).kind == "dictionary":
            relation = "is already a key of" if isinstance(op, ast.In) else "is not yet a key of"
        numeric = NUMBER in (self.shape(left), self.shape(right))
        if is_equal:
            relation = self.style.pick("equals", "equals", "is equal to", "equals" if numeric else "is the same as")
        elif is_unequal:
            relation = self.style.pick("differs", "differs from", "is not equal to", "is different from")
        return f"{self.value(left)} {relation} {self.value(right)}"

    def _divisibility(self, number: ast.expr, divisor: ast.expr, divides: bool, rest: int) -> str | None:
        words = self.value(number)
        if isinstance(divisor, ast.Constant) and divisor.value == 2:
            return f"{words} is {'even' if divides else 'odd'}"
        if rest == 1:
            return None
        return f"{words} is {'' if divides else 'not '}divisible by {self.value(divisor)}"

    def _operation(self, node: ast.BinOp) -> str:
        left, right = self.shape(node.left), self.shape(node.right)
        if type(node.op) in _SET_WORDS and "set" in (left.kind, right.kind):
            return _SET_WORDS[type(node.op)].format(*(self._of_set(side) for side in (node.left, node.right)))
        if isinstance(node.op, ast.Mult) and (
            isinstance(node.left, ast.List) or left.kind in ("list", "text", "character")
        ):
            return self._repeated(node.left, node.right)
        if isinstance(node.op, ast.Add) and {left.kind, right.kind} & {"list", "text", "tuple", "character"}:
            return f"{self.value(node.left)} followed by {self.value(node.right)}"
        if isinstance(node.op, ast.Mod) and left.kind in ("text", "character"):
            raise Refused("no words for a text template")
        return self._arithmetic(node)

    def _of_set(self, node: ast.expr) -> str:
        """What the values of a set are the values of."""
        is_made = isinstance(node, ast.Call) and called(node) == "set" and len(node.args) == 1
        return self.value(node.args[0] if is_made and isinstance(node, ast.Call) else node)

    def _arithmetic(self, node: ast.BinOp) -> str:
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=ast.Constant(value=1)):
                return f"one {'more' if isinstance(op, ast.Add) else 'less'} than {self.value(left)}"
            case ast.BinOp(left=ast.Constant(value=2), op=ast.Mult(), right=right):
                return f"twice {bracketed(self.value(right))}"
            case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=2)):
                return f"twice {bracketed(self.value(left))}"
            case ast.BinOp(left=left, op=ast.Mult(), right=right) if ast.dump(left) == ast.dump(right):
                return power(bracketed(self.value(left)), 2)
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as exponent)):
                return power(bracketed(self.value(left)), exponent)
        left, right = bracketed(self.value(node.left)), bracketed(self.value(node.right))
        match node.op:
            case ast.Add():
                return self.style.pick("plus", f"{left} plus {right}", f"the sum of {left} and {right}")
            case ast.Sub():
                return f"{left} minus {right}"
            case ast.Mult():
                return self.style.pick("times", f"{left} times {right}", f"the product of {left} and {right}")
            case ast.Div():
                return f"{left} divided by {right}"
            case ast.FloorDiv():
                return f"the whole part of {left} divided by {right}"
            case ast.Mod():
                return f"the remainder of {left} divided by {right}"
            case ast.Pow():
                return f"{left} to the power of {right}"
            case ast.LShift():
                return f"{left} shifted left by {_bits(right)}"
            case ast.RShift():
                return f"{left} shifted right by {_bits(right)}"
        return f"the bitwise {_BITS[type(node.op)]} of {left} and {right}"

    def _repeated(self, what: ast.expr, count: ast.expr) -> str:
        if isinstance(what, ast.List) and len(what.elts) == 1:
            return f"a list of {bracketed(self.value(count))} entries, each {self.value(what.elts[0])}"
        return f"{self.value(what)} repeated {bracketed(self.value(count))} times"

    def _collected(self, node: ast.expr, parts: Sequence[ast.expr]) -> str:
        noun = {ast.List: "list", ast.Tuple: "tuple", ast.Set: "set"}[type(node)]
        if not parts:
            return f"an empty {noun}"
        if len(parts) > _MAX_LISTED:
            raise Refused("a literal has very many parts")
        said = [self.value(part) for part in parts]
        if any("," in each for each in said) and len(said) > 1:
            raise Refused("a literal has parts that cannot be told apart in a sentence")
        if isinstance(node, ast.Tuple) and len(parts) == 2:
            return f"the pair of {said[0]} and {said[1]}"
        return f"a {noun} of just {said[0]}" if len(said) == 1 else f"the {noun} of {listed(said)}"

    def _part(self, node: ast.Subscript) -> str:
        whole, shape = node.value, self.shape(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._slice(node.value, node.slice)
        if isinstance(whole, ast.Subscript) and not isinstance(whole.slice, ast.Slice):
            outer = self.shape(whole.value)
            if outer.kind in ("list", "unknown") and shape.kind in ("list", "unknown"):
                row, column = self.value(whole.slice), self.value(node.slice)
                return f"the entry of {self.value(whole.value)} in row {row}, column {column}"
        if shape.kind == "dictionary":
            return f"the value that {self.value(whole)} has for {self.value(node.slice)}"
        noun = "character" if shape.kind in ("text", "character") else "entry" if shape.kind == "unknown" else "element"
        place = self.place(node.slice, whole)
        if place is not None:
            return f"the {place} {noun} of {self.value(whole)}"
        return f"the {noun} of {self.value(whole)} at position {self.value(node.slice)}"

    def place(self, index: ast.expr, whole: ast.expr) -> str | None:
        """``first`` for 0, ``last`` for -1 and for one less than the length; None for other places."""
        match index:
            case ast.Constant(value=int() as at) if 0 <= at < _PLACES:
                return ordinal(at)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):
                return "last"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=2)):
                return "second-to-last"
            case ast.BinOp(
                left=ast.Call(func=ast.Name(id="len"), args=[of]), op=ast.Sub(), right=ast.Constant(value=1)
            ):
                return "last" if ast.dump(of) == ast.dump(whole) else None
        return None

    def _slice(self, whole: ast.expr, part: ast.Slice) -> str:
        words = self.value(whole)
        noun = plural("character" if self.shape(whole).kind in ("text", "character") else "element")
        match part:
            case ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
                return f"{words} in reverse order"
            case ast.Slice(lower=None, upper=None, step=None):
                return f"a copy of {words}"
            case ast.Slice(lower=None, upper=None, step=ast.expr() as step):
                return f"every {self._nth(step)} of the {noun} of {words}, from the first on"
            case ast.Slice(lower=ast.Constant(value=int() as start), upper=None, step=ast.Constant(value=2)):
                return f"every second of the {noun} of {words}, from the {ordinal(start)} on"
            case ast.Slice(lower=None, upper=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)), step=None):
                return f"{words} without its last {noun[:-1]}"
            case ast.Slice(lower=None, upper=ast.Constant(value=1), step=None):
                return f"the first {noun[:-1]} of {words}"
            case ast.Slice(lower=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)), upper=None, step=None):
                return f"the last {noun[:-1]} of {words}"
            case ast.Slice(lower=None, upper=ast.expr() as end, step=None):
                count = self.value(end)
                long = count.startswith(("the ", "one ", "twice "))
                return f"the beginning of {words}, {count} long" if long else f"the first {count} {noun} of {words}"
            case ast.Slice(lower=ast.Constant(value=1), upper=None, step=None):
                return f"{words} without its first {noun[:-1]}"
            case ast.Slice(lower=ast.UnaryOp(op=ast.USub(), operand=count), upper=None, step=None):
                return f"the last {self.value(count)} {noun} of {words}"
            case ast.Slice(lower=ast.expr() as start, upper=None, step=None):
                return f"the part of {words} from position {self.value(start)} to its end"
            case ast.Slice(lower=ast.expr() as start, upper=ast.expr() as end, step=None):
                start_words, end_words = self.value(start), self.value(end)
                return f"the part of {words} from position {start_words} up to but not including position {end_words}"
        raise Refused("no words for a slice")

    def _nth(self, step: ast.expr) -> str:
        if isinstance(step, ast.Constant) and isinstance(step.value, int) and step.value > 1:
            return ordinal(step.value - 1)
        return f"{self.value(step)}th"

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> str:
        before = dict(self.names)
        try:
            loops = [self.clause(each) for each in node.generators]
            if isinstance(node, ast.DictComp):
                entry = f"{self.value(node.key)} with the value {self.value(node.value)}"
                return f"a dictionary that holds, {', '.join(loops)}, {entry}"
            noun = "set" if isinstance(node, ast.SetComp) else "list"
            only = node.generators[0]
            if len(loops) == 1 and ast.dump(node.elt).replace("Load", "Store") == ast.dump(only.target):
                return self._kept(only, noun)
            alike = self._alike(node.elt, only) if noun == "list" and len(loops) == 1 else None
            return alike or f"the {noun} that holds, {', '.join(loops)}, {self.value(node.elt)}"
        finally:
            self.names = before

    def _alike(self, part: ast.expr, only: ast.comprehension) -> str | None:
        """A list of equal entries, or a table of them, by its size; None for other lists."""
        match only:
            case ast.comprehension(iter=ast.Call(func=ast.Name(id="range"), args=[rows]), ifs=[]):
                if isinstance(part, ast.Constant):
                    return f"a list of {bracketed(self.value(rows))} entries, each {self.value(part)}"
                columns = self._columns(part)
                if columns is not None:
                    width, filling = columns
                    size = f"{bracketed(self.value(rows))} rows and {bracketed(self.value(width))} columns"
                    return f"a table of {size}, filled with {self.value(filling)}"
        return None

    def _columns(self, row: ast.expr) -> tuple[ast.expr, ast.expr] | None:
        """How wide a row of equal entries is, and what its entries are."""
        match row:
            case ast.BinOp(left=ast.List(elts=[ast.Constant() as filling]), op=ast.Mult(), right=width):
                return width, filling
            case ast.ListComp(
                elt=ast.Constant() as filling,
                generators=[ast.comprehension(iter=ast.Call(func=ast.Name(id="range"), args=[width]), ifs=[])],
            ):
                return width, filling
        return None

    def _kept(self, only: ast.comprehension, noun: str) -> str:
        start = "the list" if noun == "list" else "the set"
        if _is_range(only.iter):
            return f"{start} of {self._every(self.clause(only))}"
        items = plural(self._item(only.target))
        whole = self.value(only.iter)
        if not only.ifs:
            return f"the {items} of {whole}" if noun == "list" else f"the set of the {items} of {whole}"
        tests = " and ".join(self.condition(test) for test in only.ifs)
        return f"{start} of every {self._item(only.target)} of {whole} for which {tests}"

    def _every(self, clause: str) -> str:
        return clause.replace("for each", "every", 1)

    def _item(self, target: ast.expr) -> str:
        return self.names[target.id].noun if isinstance(target, ast.Name) else "pair"

    def clause(self, loop: ast.comprehension) -> str:
        """``for each number of the list for which …``; binds the names of the loop."""
        words = self.bind(loop.target, loop.iter)
        tests = " and ".join(self.condition(test) for test in loop.ifs)
        return f"for each {words}" + (f" for which {tests}" if tests else "")

    def bind(self, target: ast.expr, iterated: ast.expr) -> str:
        """Names what a comprehension or lambda binds, as "that number"; returns ``number of the list``."""
        if _is_range(iterated):
            if not isinstance(target, ast.Name):
                raise Refused("no words for a comprehension")
            taken = {name.words for name in self.names.values()}
            letter = next((each for each in "ijkuv" if each not in taken), None)
            if letter is None:
                raise Refused("the reference program has many numbers")
            span = self.span(iterated, letter)
            self.names[target.id] = Name(letter, True, NUMBER, "number", "loop")
            return span
        whole = self.value(iterated)
        shapes = bound_shapes(target, iterated, {name: known.shape for name, known in self.names.items()})
        if isinstance(target, ast.Name):
            noun = (
                "character"
                if self.shape(iterated).kind in ("text", "character")
                else item_noun(shapes.get(target.id, UNKNOWN))
            )
            self.names[target.id] = self._that(noun, shapes.get(target.id, UNKNOWN))
            return f"{noun} of {whole}"
        numbered = isinstance(iterated, ast.Call) and called(iterated) == "enumerate"
        if isinstance(target, ast.Tuple) and all(isinstance(part, ast.Name) for part in target.elts):
            if numbered and isinstance(iterated, ast.Call):
                return self._numbered(target, iterated.args[0], shapes)
            for at, part in enumerate(target.elts):
                assert isinstance(part, ast.Name)
                shape = shapes.get(part.id, UNKNOWN)
                self.names[part.id] = Name(f"its {ordinal(at)} part", False, shape, f"{ordinal(at)} part", "loop")
            return f"{'pair' if len(target.elts) == 2 else 'tuple'} of {whole}"
        raise Refused("no words for a comprehension")

    def _numbered(self, target: ast.Tuple, whole: ast.expr, shapes: Mapping[str, Shape]) -> str:
        position, part = target.elts
        assert isinstance(position, ast.Name) and isinstance(part, ast.Name)
        noun = (
            "character" if self.shape(whole).kind in ("text", "character") else item_noun(shapes.get(part.id, UNKNOWN))
        )
        self.names[position.id] = Name("that position", False, NUMBER, "position", "loop")
        self.names[part.id] = Name(f"the {noun} there", False, shapes.get(part.id, UNKNOWN), noun, "loop")
        return f"position of {self.value(whole)}"

    def _that(self, noun: str, shape: Shape) -> Name:
        taken = {name.words for name in self.names.values()}
        words = next((w for w in (f"that {noun}", f"this {noun}") if w not in taken), None)
        if words is None:
            raise Refused("a comprehension nests deeply")
        return Name(words, False, shape, noun, "loop")

    def span(self, iterated: ast.expr, letter: str) -> str:
        """``i from 1 to n``; ``position i of the list`` for all positions."""
        assert isinstance(iterated, ast.Call)
        arguments = iterated.args
        start: ast.expr = ast.Constant(value=0) if len(arguments) == 1 else arguments[0]
        end = arguments[0] if len(arguments) == 1 else arguments[1]
        step = arguments[2] if len(arguments) > 2 else None
        from_zero = isinstance(start, ast.Constant) and start.value == 0
        if step is None and from_zero and isinstance(end, ast.Call) and called(end) == "len":
            return f"position {letter} of {self.value(end.args[0])}"
        down = isinstance(step, ast.UnaryOp) and isinstance(step.op, ast.USub)
        last = self.value(_one_on(end) if down else _one_back(end))
        way = f"from {self.value(start)} {'down ' if down else ''}to {last}"
        if step is None or _is_one(step.operand if isinstance(step, ast.UnaryOp) else step):
            return f"{letter} {way}"
        size = step.operand if isinstance(step, ast.UnaryOp) else step
        return f"{letter} {way} in steps of {self.value(size)}"

    def size(self, count: int) -> str:
        """A count as a word."""
        return small(count)


def _bits(count: str) -> str:
    if count == "1":
        return "one bit"
    return f"{count} bits" if len(count) < 3 else f"as many bits as {count} says"


def _is_range(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _one_back(end: ast.expr) -> ast.expr:
    """The last whole number before ``end``, simplified."""
    return _moved(end, -1)


def _one_on(end: ast.expr) -> ast.expr:
    return _moved(end, 1)


def _moved(end: ast.expr, by: int) -> ast.expr:
    match end:
        case ast.Constant(value=int() as value):
            return _number(value + by)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return _number(by - value)
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant(value=int() as value)):
            return _added(left, value + by)
        case ast.BinOp(left=left, op=ast.Sub(), right=ast.Constant(value=int() as value)):
            return _added(left, by - value)
    return _added(end, by)


def _added(left: ast.expr, value: int) -> ast.expr:
    if value == 0:
        return left
    return ast.BinOp(left=left, op=ast.Add() if value > 0 else ast.Sub(), right=_number(abs(value)))


def _number(value: int) -> ast.expr:
    return ast.Constant(value=value) if value >= 0 else ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=-value))
