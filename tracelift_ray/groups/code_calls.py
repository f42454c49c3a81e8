"""Says calls of the standard library in English: ``sorted(x)`` is "the list in ascending order".

One table holds the calls that take their arguments one by one; what depends on more has a method. Calls that are in
neither are refused by name.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracelift_ray.groups.code_names import Name, item_noun
from tracelift_ray.groups.code_patterns import match_words, pattern_words
from tracelift_ray.groups.code_shapes import Shape, called, shape_of
from tracelift_ray.groups.code_words import bracketed, listed
from tracelift_ray.groups.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.groups.code_phrases import Phrases

#: Calls with one argument (for methods: the object alone).
_OF_ONE = {
    "sum": "the sum of {}", "abs": "the absolute value of {}", "set": "the distinct values of {}",
    "reversed": "{} in reverse order", "str": "{} written as text", "ord": "the character code of {}",
    "chr": "the character with the code {}", "bin": "{} in binary", "hex": "{} in hexadecimal",
    "sqrt": "the square root of {}", "factorial": "the factorial of {}", "ceil": "{} rounded up",
    "floor": "the whole part of {}", "log2": "the base-2 logarithm of {}", "log10": "the base-10 logarithm of {}",
    "log": "the natural logarithm of {}", "sin": "the sine of {}", "cos": "the cosine of {}", "tan": "the tangent of {}",
    "radians": "{} in radians", "degrees": "{} in degrees", "exp": "e to the power of {}",
    "lower": "{} in lower case", "upper": "{} in upper case", "strip": "{} without the spaces around it",
    "capitalize": "{} with a capital at its start", "title": "{} with a capital at the start of every word",
    "swapcase": "{} with upper and lower case exchanged", "keys": "the keys of {}", "values": "the values of {}",
    "items": "the key and value pairs of {}", "copy": "a copy of {}", "deepcopy": "a deep copy of {}",
    "Counter": "a table of how often each value occurs in {}", "round": "{} rounded to a whole number",
    "heappop": "the smallest value, taken off {}", "enumerate": "{} with positions", "type": "the type of {}",
    "lstrip": "{} without the spaces before it", "rstrip": "{} without the spaces after it",
    "most_common": "the values and counts of {}, the most frequent first", "float": "{}", "dict": "the dictionary of {}",
    "from_iterable": "the parts of {} strung together", "isnan": "whether {} is no number",
}  # fmt: skip
#: Calls with two arguments (for methods: the object and one argument).
_OF_TWO = {
    "gcd": "the greatest common divisor of {} and {}", "pow": "{} to the power of {}", "round": "{} rounded to {} decimals",
    "count": "the number of times that {1} occurs in {0}", "index": "the position of {1} in {0}",
    "find": "the position of {1} in {0}", "nlargest": "the {0} largest values of {1}",
    "nsmallest": "the {0} smallest values of {1}", "combinations": "all combinations of {1} values of {0}",
    "combinations_with_replacement": "all selections of {1} values of {0}, with repetition",
    "permutations": "all arrangements of {1} values of {0}", "split": "the parts of {0} between every occurrence of {1}",
    "bisect_left": "the leftmost place in {0} at which {1} keeps it sorted",
    "bisect_right": "the rightmost place in {0} at which {1} keeps it sorted",
    "bisect": "the rightmost place in {0} at which {1} keeps it sorted",
    "most_common": "the {1} most frequent values of {0} with their counts", "log": "the logarithm of {} to the base {}",
    "intersection": "the values that {} and {} share", "union": "the values of {} and {} together",
    "difference": "the values of {} that are not in {}", "get": "the value that {0} has for {1}",
    "int": "the number that {0} spells in base {1}", "pop": "the element at position {1}, taken out of {0}",
    "fmod": "the remainder of {} divided by {}", "hypot": "the length of the hypotenuse over {} and {}",
    "atan2": "the angle of the point with the coordinates {1} and {0}", "zip_longest": "the pairs of {} and {}",
    "chain": "{} followed by {}", "merge": "the sorted merge of {} and {}", "rjust": "{} padded on the left to {} characters",
}  # fmt: skip
_OF_THREE = {
    "replace": "{0} with every occurrence of {1} replaced by {2}",
    "get": "the value that {0} has for {1}, or {2} where it has none",
}
_MODULES = {"math", "re", "heapq", "hq", "collections", "ct", "itertools", "bisect", "cmath", "functools", "mt", "copy"}
_TESTS = {
    "isdigit": ("consists of digits", "does not consist of digits"),
    "isalpha": ("consists of letters", "does not consist of letters"),
    "isalnum": ("consists of letters and digits", "does not consist of letters and digits"),
    "isupper": ("is in upper case", "is not in upper case"),
    "islower": ("is in lower case", "is not in lower case"),
    "isspace": ("is white space", "is no white space"),
    "isnumeric": ("is numeric", "is not numeric"),
}
_ENDS = {"startswith": "starts with", "endswith": "ends with"}
_TYPE_NOUNS = {
    "int": "a whole number", "str": "a string", "list": "a list", "tuple": "a tuple", "float": "a decimal number",
    "dict": "a dictionary", "set": "a set", "bool": "a truth value",
}  # fmt: skip
_KEY_WORDS = {"len": "length", "sum": "sum", "abs": "absolute value", "int": "value as a number", "str": "text"}


class CallWords:
    """Words for calls, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases

    def value(self, node: ast.Call) -> str:
        """A call as a noun phrase. Raises Refused."""
        name = called(node)
        if isinstance(node.func, ast.Name) and name in self.phrases.functions:
            return self._own(node, name)
        special: Callable[[ast.Call], str] | None = {
            "len": self._length, "max": self._extreme, "min": self._extreme, "sorted": self._sorted,
            "int": self._whole, "list": self._as_list, "tuple": self._as_list, "map": self._mapped,
            "filter": self._filtered, "zip": self._zipped, "join": self._joined, "range": self._range,
            "sub": self._substituted, "findall": self._found, "defaultdict": self._default, "next": self._next,
            "split": self._split, "nlargest": self._of_heap, "nsmallest": self._of_heap, "sum": self._sum,
        }.get(name)  # fmt: skip
        if special is not None:
            return special(node)
        if name in ("all", "any", "isinstance", "bool", "match", "search", *_TESTS, *_ENDS, "issubset"):
            return f"whether {self.condition(node)}"
        return self._by_table(node, name)

    def _by_table(self, node: ast.Call, name: str) -> str:
        if node.keywords:
            raise Refused(f"no words for the options of {name}")
        arguments = list(node.args)
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") not in _MODULES:
            arguments.insert(0, node.func.value)
        table = {0: {"set": "an empty set", "dict": "an empty dictionary", "list": "an empty list", "str": "an empty string",
                     "Counter": "an empty table of counts", "deque": "an empty queue"},
                 1: _OF_ONE, 2: _OF_TWO, 3: _OF_THREE}.get(len(arguments), {})  # fmt: skip
        template = table.get(name)
        if template is None:
            raise Refused(f"no words for the call {name}" if name else "no words for a call")
        return template.format(*(self.phrases.value(argument) for argument in arguments))

    def condition(self, node: ast.Call) -> str | None:
        """A call that is true or false as a clause; None for other calls."""
        return self._test(node, True)

    def negated(self, node: ast.Call) -> str | None:
        """The opposite of ``condition``; None for other calls."""
        return self._test(node, False)

    def _test(self, node: ast.Call, holds: bool) -> str | None:
        name = called(node)
        value = self.phrases.value
        if name in _TESTS and isinstance(node.func, ast.Attribute):
            return f"{value(node.func.value)} {_TESTS[name][0 if holds else 1]}"
        if name in _ENDS and isinstance(node.func, ast.Attribute) and len(node.args) == 1:
            verb = _ENDS[name] if holds else f"does not {_ENDS[name].replace('s with', ' with')}"
            return f"{value(node.func.value)} {verb} {value(node.args[0])}"
        match name, node.args:
            case "all" | "any", [argument]:
                return self._quantified(name, argument, holds)
            case "isinstance", [what, ast.Name(id=kind)] if kind in _TYPE_NOUNS:
                return f"{value(what)} is {'' if holds else 'not '}{_TYPE_NOUNS[kind]}"
            case "bool", [inner]:
                return self.phrases.condition(inner) if holds else self.phrases.negated(inner)
            case "search" | "match" | "fullmatch", [pattern, text]:
                return self._matches(name, pattern, text, holds)
            case "issubset", [other] if isinstance(node.func, ast.Attribute):
                verb = "is contained in" if holds else "is not contained in"
                return f"{value(node.func.value)} {verb} {value(other)}"
        return None

    def _quantified(self, name: str, argument: ast.expr, holds: bool) -> str:
        before = dict(self.phrases.names)
        try:
            match argument:
                case ast.GeneratorExp(elt=test, generators=[loop]) | ast.ListComp(elt=test, generators=[loop]):
                    words = self.phrases.clause(loop).removeprefix("for each ")
                    clause = self.phrases.condition(test)
                case ast.Call(func=ast.Name(id="map"), args=[ast.Lambda(args=args, body=test), whole]):
                    target = ast.Name(id=args.args[0].arg, ctx=ast.Store())
                    words = self.phrases.bind(target, whole)
                    clause = self.phrases.condition(test)
                case _:
                    words, clause = f"element of {self.phrases.value(argument)}", "it is true"
        finally:
            self.phrases.names = before
        start = {
            ("all", True): "for every", ("any", True): "for at least one",
            ("all", False): "not for every", ("any", False): "for no",
        }[name, holds]  # fmt: skip
        return f"{start} {words} {clause}"

    def _matches(self, name: str, pattern: ast.expr, text: ast.expr, holds: bool) -> str:
        verb, words = match_words(self._literal(pattern), name)
        said = f"does not {verb}" if not holds else {"consist of": "consists of"}.get(verb, verb.replace(" ", "s ", 1))
        said = "contains" if holds and verb == "contain" else said
        return f"{self.phrases.value(text)} {said} {words}"

    def _literal(self, node: ast.expr) -> str:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            raise Refused("no words for a pattern that is put together")
        return node.value

    def _own(self, node: ast.Call, name: str) -> str:
        """A call of the program's own function: the same problem for other values, or the helper's result."""
        said = [self.phrases.value(argument) for argument in node.args]
        if self.phrases.functions[name]:
            return f"{self.phrases.functions[name]} for {listed([bracketed(each) for each in said])}"
        changes = [
            f"{bracketed(new)} in place of {self.phrases.name(old)}"
            for old, new in zip(self.phrases.inputs, said, strict=False)
            if new != self.phrases.name(old)
        ]
        if not changes or node.keywords:
            raise Refused("no words for a recursive call")
        return f"the answer to the same problem with {listed(changes)}"

    def _length(self, node: ast.Call) -> str:
        return f"the length of {self.phrases.value(node.args[0])}"

    def _sum(self, node: ast.Call) -> str:
        match node.args:
            case [ast.GeneratorExp(elt=part, generators=[loop]) | ast.ListComp(elt=part, generators=[loop])]:
                before = dict(self.phrases.names)
                try:
                    words = self.phrases.clause(loop)
                    if isinstance(part, ast.Constant) and part.value == 1:
                        return f"the number of cases, counted {words}"
                    return f"the sum, over {words.removeprefix('for ')}, of {self.phrases.value(part)}"
                finally:
                    self.phrases.names = before
        return self._by_table(node, "sum")

    def _extreme(self, node: ast.Call) -> str:
        word = "largest" if called(node) == "max" else "smallest"
        key = self._key(node)
        match node.args:
            case [ast.GeneratorExp(elt=part, generators=[loop]) | ast.ListComp(elt=part, generators=[loop])] if not key:
                before = dict(self.phrases.names)
                try:
                    over = self.phrases.clause(loop).removeprefix("for ")
                    return f"the {word} value, over {over}, of {self.phrases.value(part)}"
                finally:
                    self.phrases.names = before
        if len(node.args) == 1:
            noun = item_noun(self.phrases.shape(node.args[0]).items)
            noun = "value" if noun == "element" else noun
            if key:
                return f"the {noun} of {self.phrases.value(node.args[0])} with the {word} {key}"
            return f"the {word} {noun} of {self.phrases.value(node.args[0])}"
        if key:
            raise Refused("no words for the options of max")
        return (
            f"the {'larger' if word == 'largest' else 'smaller'} of {listed(self._all(node))}"
            if len(node.args) == 2
            else f"the {word} of {listed(self._all(node))}"
        )

    def _all(self, node: ast.Call) -> list[str]:
        return [bracketed(self.phrases.value(argument)) for argument in node.args]

    def _key(self, node: ast.Call) -> str:
        """What a sort or a choice goes by; empty where by the values themselves."""
        words = ""
        for keyword in node.keywords:
            if keyword.arg == "reverse":
                continue
            if keyword.arg != "key":
                raise Refused(f"no words for the options of {called(node)}")
            words = self.key_words(keyword.value, self._sorted_items(node))
        return words

    def _sorted_items(self, node: ast.Call) -> Shape:
        """The shape of what is ordered or chosen from."""
        whole: ast.expr = node.args[-1] if node.args else node.func.value  # type: ignore[attr-defined]
        return self.phrases.shape(whole).items

    def key_words(self, key: ast.expr, items: Shape) -> str:
        """What a function of one value computes: ``second part``, ``length``, else in full with its owner."""
        match key:
            case ast.Name(id=name) if name in _KEY_WORDS:
                return _KEY_WORDS[name]
            case ast.Lambda(args=args, body=ast.Subscript(value=ast.Name(id=whole), slice=place)) if (
                len(args.args) == 1 and args.args[0].arg == whole
            ):
                word = self.phrases.place(place, ast.Name(id=whole, ctx=ast.Load()))
                if word is not None:
                    return f"{word} part"
            case ast.Call(args=[place]) if called(key) == "itemgetter":
                word = self.phrases.place(place, key)
                if word is not None:
                    return f"{word} part"
            case ast.Lambda(args=args, body=ast.Call(func=ast.Name(id=name), args=[ast.Name(id=whole)])) if (
                len(args.args) == 1 and args.args[0].arg == whole and name in _KEY_WORDS
            ):
                return _KEY_WORDS[name]
            case ast.Attribute(attr="get", value=table):
                return f"value in {self.phrases.value(table)}"
            case ast.Lambda(args=args, body=body) if len(args.args) == 1:
                before = dict(self.phrases.names)
                noun = item_noun(items)
                self.phrases.names[args.args[0].arg] = Name(f"that {noun}", False, items, noun, "loop")
                try:
                    return self.phrases.value(body)
                finally:
                    self.phrases.names = before
        raise Refused("no words for a sort key")

    def _sorted(self, node: ast.Call) -> str:
        words = self.phrases.value(node.args[0])
        return f"{words} {self.order(node)}"

    def order(self, node: ast.Call) -> str:
        """How ``sorted`` or ``sort`` orders: ``in descending order of second part``."""
        falling = any(k.arg == "reverse" and getattr(k.value, "value", False) is True for k in node.keywords)
        word = "descending" if falling else "ascending"
        key = self._key(node)
        return f"sorted in {word} order" + (f" of {key}" if key else "")

    def _whole(self, node: ast.Call) -> str:
        if len(node.args) != 1:
            return self._by_table(node, "int")
        words = self.phrases.value(node.args[0])
        shape = self.phrases.shape(node.args[0])
        return (
            f"the number that {bracketed(words)} spells"
            if shape.kind in ("text", "character")
            else f"the whole part of {bracketed(words)}"
        )

    def _as_list(self, node: ast.Call) -> str:
        if not node.args:
            return f"an empty {called(node)}"
        inner = node.args[0]
        words = self.phrases.value(inner)
        if called(node) == "tuple" and self.phrases.shape(inner).kind != "tuple":
            return f"{words}, as a tuple"
        if isinstance(inner, ast.Name) and self.phrases.shape(inner).kind == "text":
            return f"the characters of {words}"
        return words

    def _mapped(self, node: ast.Call) -> str:
        match node.args:
            case [ast.Lambda(args=args, body=body), *wholes] if len(args.args) == len(wholes):
                return self._applied(args, body, wholes)
            case [ast.Name(id=name), whole] if name in (
                "int",
                "str",
                "float",
                "list",
                "tuple",
                "set",
                "len",
                "sum",
                "max",
            ):
                argument = ast.Name(id="each value", ctx=ast.Load())
                before = dict(self.phrases.names)
                shape = self.phrases.shape(whole).items
                noun = item_noun(shape)
                self.phrases.names["each value"] = Name(f"that {noun}", False, shape, noun, "loop")
                try:
                    part = self.phrases.value(ast.Call(func=node.args[0], args=[argument], keywords=[]))
                    return f"the list that holds, for each {noun} of {self.phrases.value(whole)}, {part}"
                finally:
                    self.phrases.names = before
        raise Refused("no words for a mapped function")

    def _applied(self, args: ast.arguments, body: ast.expr, wholes: list[ast.expr]) -> str:
        before = dict(self.phrases.names)
        try:
            if len(wholes) == 1:
                words = self.phrases.bind(ast.Name(id=args.args[0].arg, ctx=ast.Store()), wholes[0])
                return f"the list that holds, for each {words}, {self.phrases.value(body)}"
            said = [self.phrases.value(whole) for whole in wholes]
            for argument, whole, words in zip(args.args, wholes, said, strict=True):
                shape = shape_of(whole, {name: known.shape for name, known in before.items()}).items
                self.phrases.names[argument.arg] = Name(f"the value in {words}", False, shape, "value", "loop")
            return f"the list that holds, for each position in {listed(said)}, {self.phrases.value(body)}"
        finally:
            self.phrases.names = before

    def _filtered(self, node: ast.Call) -> str:
        match node.args:
            case [ast.Lambda(args=args, body=test), whole] if len(args.args) == 1:
                before = dict(self.phrases.names)
                try:
                    words = self.phrases.bind(ast.Name(id=args.args[0].arg, ctx=ast.Store()), whole)
                    return f"the list of every {words} for which {self.phrases.condition(test)}"
                finally:
                    self.phrases.names = before
        raise Refused("no words for a filter")

    def _zipped(self, node: ast.Call) -> str:
        return (
            f"the pairs of {listed(self._all(node))}"
            if len(node.args) == 2
            else f"the tuples of {listed(self._all(node))}"
        )

    def _joined(self, node: ast.Call) -> str:
        assert isinstance(node.func, ast.Attribute)
        words = self.phrases.value(node.args[0])
        match node.func.value:
            case ast.Constant(value=""):
                return f"the string that joins {words}"
        return f"the string that joins, with {self.phrases.value(node.func.value)} in between, {words}"

    def _range(self, node: ast.Call) -> str:
        return f"the numbers {self.phrases.span(node, '').strip()}"

    def _substituted(self, node: ast.Call) -> str:
        if len(node.args) != 3 or node.keywords:
            raise Refused("no words for the options of sub")
        pattern, new, text = node.args
        words = pattern_words(self._literal(pattern))
        if isinstance(new, ast.Constant) and new.value == "":
            return f"{self.phrases.value(text)} with every occurrence of {words} removed"
        if isinstance(new, ast.Constant) and isinstance(new.value, str) and "\\" in new.value:
            raise Refused("no words for a replacement with groups")
        return f"{self.phrases.value(text)} with every occurrence of {words} replaced by {self.phrases.value(new)}"

    def _found(self, node: ast.Call) -> str:
        if len(node.args) != 2:
            raise Refused("no words for the options of findall")
        return f"all occurrences of {pattern_words(self._literal(node.args[0]))} in {self.phrases.value(node.args[1])}"

    def _default(self, node: ast.Call) -> str:
        kind = getattr(node.args[0], "id", "") if node.args else ""
        starts = {"int": "0", "list": "an empty list", "set": "an empty set"}.get(kind)
        if starts is None:
            raise Refused("no words for a default")
        return f"an empty lookup table whose entries start as {starts}"

    def _next(self, node: ast.Call) -> str:
        match node.args:
            case [ast.GeneratorExp(elt=part, generators=[loop]), *rest]:
                before = dict(self.phrases.names)
                try:
                    words = self.phrases.clause(loop).removeprefix("for each ")
                    said = self.phrases.value(part)
                finally:
                    self.phrases.names = before
                other = f", or {self.phrases.value(rest[0])} where there is none" if rest else ""
                return f"{said}, for the first {words}{other}"
        raise Refused("no words for the call next")

    def _split(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "re":
            return (
                f"the parts of {self.phrases.value(node.args[1])} around {pattern_words(self._literal(node.args[0]))}"
            )
        if not node.args and isinstance(node.func, ast.Attribute):
            return f"the words of {self.phrases.value(node.func.value)}"
        return self._by_table(node, "split")

    def _of_heap(self, node: ast.Call) -> str:
        key = self._key(node)
        words = self._by_table(ast.Call(func=node.func, args=node.args, keywords=[]), called(node))
        return f"{words} by {key}" if key else words

    def plain_name(self, node: ast.expr) -> str:
        """A constant of a module."""
        match node:
            case ast.Attribute(value=ast.Name(id="sys"), attr="maxsize" | "maxint"):
                return "a very large number"
            case ast.Attribute(attr="pi"):
                return "π"
        raise Refused("no words for an attribute or function value")
