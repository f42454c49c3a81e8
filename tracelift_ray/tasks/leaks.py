"""Finds and masks the answer that a trace gives away.

A trace leaks where it states the reference answer outright (``####``, "the answer is", a box), or where the result it
states last (after ``=``, an arrow, "is", "equals", "gives" and the like) is the reference answer and no further
calculation follows. Earlier results of the same value are taken for intermediate ones: that the numbers happen to be
equal is no leak. So the rate is a lower bound; a trace that spells its answer out in words is missed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from tracelift_ray.tasks.answers import stated_answers
from tracelift_ray.tasks.numbers import SIGNED_NUMBER_IN_TEXT, PlainNumber, plain_number, same_number
from tracelift_ray.tasks.traces import MASK, masked

_RESULT_MARKS = r"=|->|\u2192|\u2248|\b(?:is|are|equals|gives|makes|leaves|yields|gets?|totals?|becomes)"
_RESULT = re.compile(rf"(?:{_RESULT_MARKS})[ \t]*(?=[-\u2212$€£¥₹]*\.?[0-9])")
_OPERATION = re.compile(r"[0-9)?][ \t]*[-+*/x\u00d7\u00f7\u2212^][ \t]*(?=[(0-9?])")


def states_answer(answer: str, reasoning: str) -> bool:
    """Whether ``reasoning`` gives ``answer`` away, by the rules above."""
    return next(_leaks(answer, reasoning), None) is not None


def mask_answer(answer: str, reasoning: str) -> str:
    """``reasoning`` with ``?`` for every mention of ``answer`` from the first leak on; unchanged where it leaks none.

    What is returned does not leak by the same rules.
    """
    if answer.strip() == MASK:
        return reasoning
    leaks = sorted(_leaks(answer, reasoning))
    if not leaks:
        return reasoning
    mentions = list(_mentions(answer, reasoning, leaks[0][0]))
    starts = [start for start, _ in mentions]
    unnamed = [(start, end) for start, end in leaks if bisect_left(starts, start) == bisect_left(starts, end)]
    return masked(reasoning, {*mentions, *unnamed})


def _leaks(answer: str, reasoning: str) -> Iterator[tuple[int, int]]:
    """Places at which the answer is stated, outright or as the result; of results repeated at the end, every one."""
    wanted = plain_number(answer)
    for start, end, stated in stated_answers(reasoning):
        if _same(stated, answer, wanted):
            yield start, end
    last_operation = max((match.start() for match in _OPERATION.finditer(reasoning)), default=-1)
    for mark in reversed(list(_RESULT.finditer(reasoning))):
        number = SIGNED_NUMBER_IN_TEXT.match(reasoning, mark.end())
        if number is None or number.end() - 1 <= last_operation or not _same(number[0], answer, wanted):
            return
        yield number.start(), number.end()


def _mentions(answer: str, reasoning: str, start: int) -> Iterator[tuple[int, int]]:
    """Every mention of the answer from ``start`` on: as a number of its value, else as its very text."""
    wanted = plain_number(answer)
    if wanted is None:
        spelled = re.compile(r"(?<!\w)" + r"\s*".join(map(re.escape, "".join(answer.split()))) + r"(?!\w)")
        for match in spelled.finditer(reasoning, start):
            yield match.span()
        return
    for match in SIGNED_NUMBER_IN_TEXT.finditer(reasoning, start):
        if _same(match[0], answer, wanted):
            yield match.span()


def _same(text: str, answer: str, wanted: PlainNumber | None) -> bool:
    """Whether a text is the reference answer, in value or to the letter."""
    if wanted is None:
        return "".join(text.split()) == "".join(answer.split())
    number = plain_number(text)
    return number is not None and same_number(number, wanted)
