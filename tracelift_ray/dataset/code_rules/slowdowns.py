"""Makes a step of a plan needlessly slow: the same values, found by far more work.

Each rule rewrites one phrase of a narrated plan, such as a sort, a maximum or a loop, where it stands.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_WHOLE = r"the (?:(?:first|second|third|result|working|current|inner) )*(?:list|string|tuple|set|dictionary)"
#: What is looked for, and slower ways to say it; ``\g<0>`` is what was found.
_RULES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(r"sorted in (?:ascending|descending) order(?: of [a-z ]+part)?"),
        (r"\g<0> by trying out all of its possible orders", r"\g<0> by checking one arrangement after another"),
    ),
    (
        re.compile(rf"\b[sS]ort ({_WHOLE}) in (ascending|descending) order"),
        (r"go through all arrangements of \1 until one is in \2 order and keep that one",),
    ),
    (
        re.compile(rf"the (?:largest|smallest) \w+ of {_WHOLE}"),
        (r"\g<0>, found by comparing each one with all of the others", r"\g<0>, found by sorting afresh for each one"),
    ),
    (
        re.compile(rf"(?:the sum of {_WHOLE})"),
        (r"\g<0>, added up from the start once for each of its elements",),
    ),
    (
        re.compile(rf"the length of {_WHOLE}"),
        (r"\g<0>, counted out anew for every single use,",),
    ),
    (
        re.compile(r"\b([fF]or (?:every|each) (?:position )?[a-z] (?:from|of) [^,:;]+)"),
        (
            r"\1, after going through all earlier turns again,",
            r"\1, and once more for every pair of such values,",
            r"\1, with all that was built so far computed afresh in each turn,",
        ),
    ),
    (
        re.compile(rf"\b([fF]or (?:every|each) [a-z ]+ of {_WHOLE})"),
        (
            r"\1, after going through all of those before it again,",
            r"\1, paired with each of the others in turn,",
            r"\1, with all that was built so far computed afresh in each turn,",
        ),
    ),
    (
        re.compile(r"\b((?:[aA]s long as|[wW]hile|[rR]epeat while) [^:;,]+)"),
        (
            r"\1, going through all earlier turns again before each one,",
            r"\1, with everything computed afresh from the start in each turn,",
        ),
    ),
    (
        re.compile(r"(occurs in|is already a key of) (the [a-z ]+?)(?=[,;.]|$)"),
        (r"\1 \2, read from end to end once for each value in it",),
    ),
)
#: The same for the result of a plan in which there is nothing else to slow down.
_RESULT_RULES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(
            r"\b([rR]eturn|[gG]ive back) (?=[^\"]*[a-z]{3})(?!true|false|nothing|whether)((?:[^ .:;]+ ){3,}[^.:;]+)$"
        ),
        (
            r"list all possible results, test each of them, and \1 \2",
            r"\1 \2, found by trying out every candidate in turn",
        ),
    ),
    (
        re.compile(r"\b([rR]eturn|[gG]ive back) ([^.:;\"]*[\u00d7\u00f7+\u00b2\u00b3\u221a^\u230a][^.:;\"]*)$"),
        (
            r"\1 \2, which is reached by counting up to it in steps of one",
            r"count upwards from zero until the value of \2 is reached, and \1 that value",
        ),
    ),
)


def slowdowns(line: str) -> list[Callable[[random.Random], str]]:
    """Every way to slow one line down; each gives the new line in one of its wordings."""
    return [_rewriter(pattern, ways, line) for pattern, ways in _RULES if pattern.search(line)]


def slow_results(line: str) -> list[Callable[[random.Random], str]]:
    """As ``slowdowns``, for a line that says what is returned."""
    return [_rewriter(pattern, ways, line) for pattern, ways in _RESULT_RULES if pattern.search(line)]


def _rewriter(pattern: re.Pattern[str], ways: tuple[str, ...], line: str) -> Callable[[random.Random], str]:
    def rewrite(rng: random.Random) -> str:
        changed = pattern.sub(rng.choice(ways), line, count=1)
        return re.sub(r",(?=[:;.]|$)|, *(?=,)", "", changed)

    return rewrite
