"""Says calls that are true or false in English, as clauses: ``all(...)``, ``s.isdigit()``, ``re.search(...)``."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tracelift_ray.dataset.code_rules.patterns import match_words
from tracelift_ray.dataset.code_rules.shapes import called
from tracelift_ray.dataset.pipeline.stages import Refused

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.phrases import Phrases

_TESTS = {
    "isdigit": ("consists of digits", "does not consist of digits"),
    "isalpha": ("consists of letters", "does not consist of letters"),
    "isalnum": ("consists of letters and digits", "does not consist of letters and digits"),
    "isupper": ("is in upper case", "is not in upper case"),
    "islower": ("is in lower case", "is not in lower case"),
    "isspace": ("is white space", "is no white space"),
    "isnumeric": ("is numeric", "is not numeric"),
}
#: The same of a single character.
_OF_CHARACTERS = {
    "isdigit": ("is a digit", "is no digit"),
    "isnumeric": ("is a digit", "is no digit"),
    "isalpha": ("is a letter", "is no letter"),
    "isalnum": ("is a letter or digit", "is neither a letter nor a digit"),
}
_ENDS = {"startswith": "starts with", "endswith": "ends with"}
_TYPE_NOUNS = {
    "int": "a whole number", "str": "a string", "list": "a list", "tuple": "a tuple", "float": "a decimal number",
    "dict": "a dictionary", "set": "a set", "bool": "a truth value",
}  # fmt: skip


class CallTests:
    """Words for calls as conditions, on top of a function's ``Phrases``."""

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases

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
            one = self.phrases.shape(node.func.value).kind == "character"
            words = (_OF_CHARACTERS if one and name in _OF_CHARACTERS else _TESTS)[name]
            return f"{value(node.func.value)} {words[0 if holds else 1]}"
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
        with self.phrases.scope():
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
        start = {
            ("all", True): "for every", ("any", True): "for at least one",
            ("all", False): "not for every", ("any", False): "for no",
        }[name, holds]  # fmt: skip
        return f"{start} {words} {clause}"

    def _matches(self, name: str, pattern: ast.expr, text: ast.expr, holds: bool) -> str:
        verb, words = match_words(literal_pattern(pattern), name)
        said = f"does not {verb}" if not holds else {"consist of": "consists of"}.get(verb, verb.replace(" ", "s ", 1))
        said = "contains" if holds and verb == "contain" else said
        return f"{self.phrases.value(text)} {said} {words}"


def literal_pattern(node: ast.expr) -> str:
    """The pattern that an expression writes out. Raises Refused for one that is put together."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        raise Refused("no words for a pattern that is put together")
    return node.value
