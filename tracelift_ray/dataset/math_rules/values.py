"""What a number of a math problem could be taken for, by a slip or a misreading, and which words tell an operation."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from fractions import Fraction

from tracelift_ray.dataset.math_rules.equations import numbers_of, write_number

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
#: How numbers are written without digits.
_NAMES: dict[int, tuple[str, ...]] = {value: (word,) for value, word in enumerate(_WORDS, start=1)} | {
    2: ("two", "twice", "double", "doubled", "half", "halves", "couple", "pair", "pairs", "both", "second"),
    3: ("three", "thrice", "triple", "triples", "third", "thirds"),
    4: ("four", "quarter", "quarters", "fourth", "fourths", "quadruple"),
    5: ("five", "fifth", "fifths"),
    6: ("six", "sixth"),
    7: ("seven", "week", "weekly"),
    8: ("eight", "eighth"),
    10: ("ten", "tenth", "tenths"),
    12: ("twelve", "dozen", "dozens", "year", "yearly"),
}
_FRACTION = re.compile(r"(?<![\d.,])(\d{1,3})/(\d{1,3})(?![\d.,]*\d)")
#: Words that speak against an operation.
_AGAINST = {
    "+": r"left|remain\w*|less|fewer|differen\w+|subtract\w*|minus|spent|lost|reduc\w+|away|after",
    "-": r"total\w*|altogether|together|all|sum|combined|both|add\w*|plus|more|gain\w*",
    "*": r"half|third|quarter|divid\w+|split|each|average|equally|one|per",
    "/": r"twice|double|triple|times|each|every|multipl\w+|total\w*|per",
}


def contradicts(line: str, sign: str) -> bool:
    """Whether the words of a line speak against ``sign`` (one of ``+-*/``)."""
    return re.search(rf"\b(?:{_AGAINST[sign]})\b", line, re.IGNORECASE) is not None


def written_numbers(text: str) -> frozenset[Fraction]:
    """The numbers of a text, in digits or as words up to twelve."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    return frozenset(numbers_of(text) | {Fraction(n) for n, word in enumerate(_WORDS, start=1) if word in words})


def quantities(statement: str, known: frozenset[Fraction]) -> frozenset[Fraction]:
    """The numbers of a statement that stand for amounts: above 1, and not a part of a fraction such as 3/4."""
    parts = {Fraction(int(part)) for pair in _FRACTION.findall(statement) for part in pair}
    return frozenset(value for value in known - parts if value > 1)


def is_fraction_bar(left: str, at: int) -> bool:
    """Whether the sign at ``at`` of an expression is the bar of a fraction such as 3/4, and no division of amounts."""
    bars = (match.start(2) - 1 for match in _FRACTION.finditer(left) if int(match[1]) < int(match[2]))
    return at in bars


def is_spelled(text: str, value: Fraction) -> bool:
    """Whether the number also stands as a word, or in one such as "twice", which a change of digits would not reach."""
    names = _NAMES.get(int(value), ()) if value.denominator == 1 else ()
    return any(re.search(rf"\b{name}\b", text, re.IGNORECASE) for name in names)


def slipped(value: Fraction, rng: random.Random) -> Fraction | None:
    """What a slip could have made of a result: a digit too much or too little, two digits exchanged, a carry lost."""
    options = {value + 1, value - 1, value + 2, value - 2, value + 10, value - 10}
    if value >= 100:
        options |= {value + 100, value - 100}
    digits = str(value.numerator)
    if value.denominator == 1 and len(digits) > 1:
        exchanged = (digits[:i] + digits[i + 1] + digits[i] + digits[i + 2 :] for i in range(len(digits) - 1))
        options |= {Fraction(int(text)) for text in exchanged}
    usable = sorted(o for o in options if o != value and value / 2 < o < 2 * value and write_number(o))
    return rng.choice(usable) if usable else None


def misread(value: Fraction, taken: Collection[Fraction], rng: random.Random) -> Fraction | None:
    """A number that could be read for ``value``, and that is none of ``taken``."""
    if value.denominator != 1:
        step = Fraction(1, 2) if value > 1 else Fraction(1, 10)
    else:
        step = Fraction(1 if value < 20 else 5 if value < 100 else 10 ** (len(str(int(value))) - 2))
    options = {value + step, value - step, value + 2 * step, value - 2 * step}
    digits = str(value.numerator)
    if value.denominator == 1 and len(digits) == 2 and digits[1] != "0":
        options.add(Fraction(int(digits[::-1])))
    least = 1 if value > 1 else 0
    usable = sorted(o for o in options if o > least and o != value and o not in taken and write_number(o))
    return rng.choice(usable) if usable else None
