"""Plain numbers as people and models write them: separators, currency, units, per cent, fractions, simple LaTeX.

Nothing is evaluated: a text is a plain number or it is not, decided in time linear in its length (which is bounded),
whatever it holds. Expressions are for ``verification.math_answers``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

#: Longer texts are not plain numbers.
MAX_NUMBER_CHARS = 200
#: Two numbers of which one is not whole are the same within this share of the smaller of 1 and the reference; it is
#: the precision at which math-verify compares, so 0.333333 is 1/3.
PRECISION = Fraction(1, 10**6)

#: Digits, and with them all digits there are; a unit may be attached, but ``3rd`` and ``2x`` are no numbers.
_DIGITS = (
    r"(?>(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?)"
    r"(?!,[0-9]{3})(?!_|(?:st|nd|rd|th|(?![gmlLC])[A-Za-z])\b)"
)
#: A number inside running text, not part of a longer number or of a word, with sign, currency, denominator and per cent
#: sign. The minus of ``20-2`` and ``20 - 2`` is no sign.
SIGNED_NUMBER_IN_TEXT = re.compile(rf"(?:(?<![\w)\]])[-\u2212])?[$€£¥₹]?(?<![\w.]){_DIGITS}(?:/{_DIGITS})?(?:\s?%)?")

_LOOKALIKES = str.maketrans(
    {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | {"\u2212": "-", "\uff0d": "-", "\uff0c": ",", "\uff0e": ".", "\uff05": "%", "\u00a0": " ", "\u202f": " "}
)
_MATH_DELIMITERS = re.compile(r"\\[\[\]()]|^\s*\*\*|\*\*\W*$|`|\\[!,;: ]|\\left|\\right|\\displaystyle")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_BOX = re.compile(r"\\f?boxed\s*\{([^{}]*)\}")
_FRACTION_COMMAND = re.compile(r"\\[dt]?frac\s*(?:\{\s*(-?[0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))")
_DEGREES = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree|\u00b0")
_ASSIGNMENT = re.compile(r"^[A-Za-z](?:_[A-Za-z0-9])?\s*=\s*(?=\S)")

_DECIMAL = r"(?:[0-9]{1,3}(?:[, ][0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_NUMBER = re.compile(
    rf"""^(?P<sign>[-+]?)\s*(?P<currency>(?:US)?\$|[€£¥₹]|USD\s)?\s*(?P<sign2>-?)\s*
    (?:(?P<whole>[0-9]+)\s+(?P<top>[0-9]+)\s*/\s*(?P<under>[0-9]+)
      |(?P<number>{_DECIMAL})
       (?:[eE](?P<exponent>[-+]?[0-9]{{1,3}})
         |\s*(?:\\times|\\cdot|\u00d7|\*)\s*10\s*(?:\^|\*\*)\s*\{{?(?P<power>[-+]?[0-9]{{1,3}})\}}?)?
       (?:\s*/\s*(?P<denominator>{_DECIMAL}))?
    )(?P<unit>.*)$""",
    re.VERBOSE | re.DOTALL,
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
#: Units that may follow without a space.
_ATTACHED_UNIT = re.compile(
    r"^(?:[kcm]m|[km]g|m[lL]|lbs?|oz|ft|mph|kph|km/h|m/s|hrs?|mins?|secs?|[cC]ents?|¢|[ap]\.?m\.?)(?:\^?\{?[23]\}?|[²³])?$"
)
_WORD_UNIT = re.compile(r"^(?:[A-Za-z][A-Za-z'./-]+|[mgslLhWVNJKCF])(?:\^?\{?[23]\}?|[²³])?$")
#: Words after a number that are no unit.
_NOT_UNITS = re.compile(
    r"pi|and|or|to|by|mod|sqrt|times|plus|minus|divided|over|squared|cubed|hundred|half|halves|thirds?|quarters?|if|when|"
    r"where|because|since|not|is|are|than",
    re.IGNORECASE,
)
_MAX_UNIT_WORDS = 4


@dataclass(frozen=True)
class PlainNumber:
    """An exact value, and whether it was written with a per cent sign (the value is the number before the sign)."""

    value: Fraction
    percent: bool = False


def plain_number(text: str) -> PlainNumber | None:
    """The number that ``text`` is as a whole, or None.

    Understood: ``1,234.50``, ``$18``, ``18 dollars``, ``5 km/h``, ``50%``, ``3/4``, ``1 1/2``, ``1.5e3``,
    ``2 \\times 10^4``, ``2 million``, ``x = 5``, ``\\boxed{5}``, ``\\frac{3}{4}``, ``12\\text{ cm}``, ``90^\\circ``,
    full-width digits. A unit is dropped. Digits of other scripts, ``2 pi`` and ``12,34`` are no plain numbers.
    """
    if len(text) > MAX_NUMBER_CHARS:
        return None
    match = _NUMBER.match(_simplified(text))
    if match is None:
        return None
    read, value = _read_unit(match["unit"]), _value(match)
    if read is None or value is None:
        return None
    scale, percent = read
    negative = (match["sign"] == "-") != (match["sign2"] == "-")
    return PlainNumber(value * scale * (-1 if negative else 1), percent)


def same_number(answer: PlainNumber, reference: PlainNumber) -> bool:
    """Whether two numbers are the same.

    Whole numbers must be equal; others agree within ``PRECISION``. A per cent sign on one side only is read either
    way: 50% is the same as 50 and as 0.5.
    """
    value, wanted = answer.value, reference.value
    if _close(value, wanted) or answer.percent == reference.percent:
        return _close(value, wanted)
    return _close(value / 100, wanted) if answer.percent else _close(value, wanted / 100)


def _close(answer: Fraction, reference: Fraction) -> bool:
    if answer == reference:
        return True
    if answer.denominator == 1 and reference.denominator == 1:
        return False
    return abs(answer - reference) <= PRECISION * min(Fraction(1), abs(reference))


def _simplified(text: str) -> str:
    """The text without what only dresses a number up: math delimiters, boxes, text commands, a closing full stop."""
    text = text.translate(_LOOKALIKES).replace("{,}", ",")
    text = _MATH_DELIMITERS.sub(lambda match: " " if match[0] in ("\\ ", "\\;", "\\:") else "", text)
    text = text.replace("\\%", "%").replace("\\$", "$").strip()
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    text = _TEXT_COMMAND.sub(r" \1", text)
    text = _FRACTION_COMMAND.sub(lambda m: f" {m[1] or m[2]}/{m[3] or m[4]}", text)
    text = _DEGREES.sub("", _BOX.sub(r"\1", text)).strip()
    return _ASSIGNMENT.sub("", text).rstrip(" .;:!").removeprefix("{").removesuffix("}").strip()


def _value(match: re.Match[str]) -> Fraction | None:
    if match["whole"] is not None:
        under = int(match["under"])
        return int(match["whole"]) + Fraction(int(match["top"]), under) if under else None
    value = _decimal(match["number"])
    exponent = match["exponent"] or match["power"]
    if exponent is not None:
        value *= Fraction(10) ** int(exponent)
    if match["denominator"] is not None:
        denominator = _decimal(match["denominator"])
        return value / denominator if denominator else None
    return value


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _read_unit(unit: str) -> tuple[int, bool] | None:
    """Scale and per cent flag of what follows the number; None where it is neither unit nor scale nor per cent."""
    stripped = unit.strip()
    if stripped.lower() in ("%", "percent", "per cent", "percents"):
        return 1, True
    if not stripped or _ATTACHED_UNIT.match(stripped):
        return 1, False
    if not unit[0].isspace():
        return None
    words = stripped.split()
    scale = _SCALES.get(words[0].lower())
    if scale is not None:
        words = words[1:]
    if len(words) > _MAX_UNIT_WORDS or any(_NOT_UNITS.fullmatch(word) or not _WORD_UNIT.match(word) for word in words):
        return None
    return scale or 1, False
