"""Small English for plans: choices of wording that stay the same within one plan, numbers, lists of clauses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_POWERS = {2: "squared", 3: "cubed"}


@dataclass(frozen=True)
class Style:
    """One way of wording plans. The same style says the same thing in the same words, wherever it stands."""

    number: int

    def pick(self, key: str, *options: str) -> str:
        """The option that this style takes for ``key``."""
        return options[xxhash.xxh3_64_intdigest(f"{self.number}/{key}".encode()) % len(options)]


def small(value: int) -> str:
    """A number as a word up to ten."""
    return _SMALL[value] if 0 <= value < len(_SMALL) else str(value)


def times(value: int, noun: str) -> str:
    """``one element``, ``three elements``."""
    return f"{small(value)} {noun if value == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun of this package's vocabulary, such as ``inner list`` or ``dictionary``."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "s", "ch")) else "s")


def article(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def ordinal(place: int) -> str:
    """``first`` for 0, and so on; counted in figures from the eleventh."""
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    return words[place] if place < len(words) else f"{place + 1}th"


def power(words: str, exponent: int) -> str:
    """A value to a whole power."""
    return f"{words} {_POWERS[exponent]}" if exponent in _POWERS else f"{words} to the power of {exponent}"


def listed(parts: Sequence[str], joint: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    last = f", {joint}" if any(len(part.split()) > 3 for part in parts) and len(parts) > 2 else f" {joint}"
    return f"{', '.join(parts[:-1])}{last} {parts[-1]}"


def sentence(text: str) -> str:
    """The text with a capital at its start and a full stop at its end; a colon stays. A lone letter, which is the
    name of a number, stays small."""
    first = text[:1].upper() if re.match(r"[a-z][a-z-]|a ", text) else text[:1]
    return first + text[1:] + ("" if text.endswith((":", ".")) else ".")


def bracketed(words: str) -> str:
    """A phrase in brackets where it has operations in it, so that it cannot be misread as part of a larger one."""
    plain = re.fullmatch(r"[\w√π.⌊⌋\"' -]*|\([^()]*\)|√\([^()]*\)", words)
    return (
        words
        if plain and not re.search(r" (?:plus|minus|times|divided|squared|cubed|and|or) ", words)
        else f"({words})"
    )
