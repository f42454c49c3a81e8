"""Says a regular expression in English: ``ab*?`` is "an "a" followed by any number of "b"".

Covers literals, character classes, repeats, alternatives, groups and anchors; anything else is refused.
"""

from __future__ import annotations

import re
import re._constants as codes
import re._parser as parser
from typing import Any

from tracelift_ray.dataset.code_rules.words import listed, plural, small
from tracelift_ray.dataset.pipeline.stages import Refused

_CLASSES = {
    codes.CATEGORY_DIGIT: "digit",
    codes.CATEGORY_NOT_DIGIT: "character that is no digit",
    codes.CATEGORY_WORD: "letter, digit or underscore",
    codes.CATEGORY_NOT_WORD: "character other than letters, digits and underscores",
    codes.CATEGORY_SPACE: "white-space character",
    codes.CATEGORY_NOT_SPACE: "character that is no white space",
}
_RANGES = {("a", "z"): "lower-case letter", ("A", "Z"): "upper-case letter", ("0", "9"): "digit"}
_PLACES = {
    codes.AT_BEGINNING: "the start of the text",
    codes.AT_BEGINNING_STRING: "the start of the text",
    codes.AT_END: "the end of the text",
    codes.AT_END_STRING: "the end of the text",
    codes.AT_BOUNDARY: "the edge of a word",
    codes.AT_NON_BOUNDARY: "a place inside a word",
}
_MAX_PARTS = 5


def pattern_words(pattern: str) -> str:
    """What a pattern matches, as a noun phrase. Raises Refused where that cannot be said well."""
    try:
        parsed = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        raise Refused("no words for a pattern") from None
    return _sequence(list(parsed))


def match_words(pattern: str, how: str) -> tuple[str, str]:
    """What a text does that matches, as ``(verb, what)``: contain, start with, end with or consist of something.

    Args:
        how: ``search``, ``match`` or ``fullmatch``, as in Python's ``re``.

    Raises:
        Refused: the pattern cannot be said well.
    """
    try:
        items = list(parser.parse(pattern))
    except (re.error, OverflowError, RecursionError):
        raise Refused("no words for a pattern") from None
    at_start = how != "search"
    at_end = how == "fullmatch"
    while items and items[0][0] is codes.AT and items[0][1] in (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING):
        at_start, items = True, items[1:]
    while items and items[-1][0] is codes.AT and items[-1][1] in (codes.AT_END, codes.AT_END_STRING):
        at_end, items = True, items[:-1]
    verb = {(True, True): "consist of", (True, False): "start with", (False, True): "end with"}
    return verb.get((at_start, at_end), "contain"), _sequence(items)


def _sequence(items: list[Any]) -> str:
    parts: list[str] = []
    literal = ""
    for code, argument in items:
        if code is codes.LITERAL:
            literal += chr(argument)
            continue
        if literal:
            parts.append(_text(literal))
            literal = ""
        parts.append(_item(code, argument))
    if literal:
        parts.append(_text(literal))
    if not parts or len(parts) > _MAX_PARTS:
        raise Refused("no words for a long pattern")
    return ", followed by ".join(parts) if len(parts) > 2 else " followed by ".join(parts)


def _text(text: str) -> str:
    return "a space" if text == " " else f'"{text}"'


def _item(code: Any, argument: Any) -> str:
    if code is codes.AT:
        return _PLACES[argument]
    if code is codes.ANY:
        return "any character"
    if code is codes.IN:
        return _one(_class(argument))
    if code is codes.NOT_LITERAL:
        return f"a character other than {_text(chr(argument))}"
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        return _repeated(*argument)
    if code is codes.SUBPATTERN:
        return _sequence(list(argument[-1]))
    if code is codes.BRANCH:
        return listed([_sequence(list(branch)) for branch in argument[1]], "or")
    raise Refused("no words for a pattern")


def _class(members: list[Any]) -> str:
    """The noun for one character of a class."""
    negated = members[0][0] is codes.NEGATE
    nouns: list[str] = []
    for code, argument in members[1 if negated else 0 :]:
        if code is codes.CATEGORY:
            nouns.append(_CLASSES[argument])
        elif code is codes.RANGE and (chr(argument[0]), chr(argument[1])) in _RANGES:
            nouns.append(_RANGES[chr(argument[0]), chr(argument[1])])
        elif code is codes.LITERAL:
            nouns.append(_text(chr(argument)))
        else:
            raise Refused("no words for a character class")
    if len(nouns) > _MAX_PARTS:
        raise Refused("no words for a character class")
    if negated:
        return f"character other than {listed([_one(noun) for noun in nouns], 'or')}"
    return listed(nouns, "or")


def _one(noun: str) -> str:
    if noun.startswith(('"', "a ")):
        return noun
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _repeated(least: int, most: Any, inner: Any) -> str:
    items = list(inner)
    if (least, most) == (0, 1):
        return f"{_sequence(items)}, which may be missing"
    if most is codes.MAXREPEAT:
        amount = {0: "any number of", 1: "one or more"}.get(least, f"at least {small(least)}")
    else:
        amount = small(least) if least == most else f"{small(least)} to {small(most)}"
    if len(items) == 1 and items[0][0] is codes.IN:
        noun = _class(items[0][1])
        if '"' not in noun and not re.search(" (?:or|no|than) ", noun):
            return f"{amount} {plural(noun)}"
        return f"{amount} characters, each {_one(noun)}"
    if len(items) == 1 and items[0][0] is codes.ANY:
        return f"{amount} characters"
    times = "any number of times" if amount == "any number of" else f"{amount} times"
    return f"{_sequence(items)} {times}"
