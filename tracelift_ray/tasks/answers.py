"""Reads the final answer out of a math completion, and finds every answer that a text states outright.

What follows ``####``, else a stated answer ("the answer is"), else the last box, else the last number. What a rambling
model writes after it goes on to another problem ("Problem:") is not read. All of it takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracelift_ray.tasks.numbers import SIGNED_NUMBER_IN_TEXT, plain_number

#: A new problem of the model's own making.
_NEXT_PROBLEM = re.compile(r"\n[ \t]*(?:\*\*)?(?:Problem|Question|Q|Task|Instruction)\b[^\n:]{0,12}:")
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_HASH_ANSWER = re.compile(r"[-+]?\s*(?:[$€£¥₹.(\[\\{*]|[0-9])")
#: A whole line whose ``####`` is followed by what looks like an answer, the first of which is read. Answers that are
#: told otherwise may be told again.
ANSWERED = r"^(?:(?!####)[^\n])*####[ \t*`_]*[-+]?[ \t]*[$€£¥₹.(\[\\{]*[0-9][^\n]*\n"
_STATED = re.compile(
    r"\b(?:final\s+answer|answer)(?:\s+to\s+(?:the|this)\s+(?:problem|question))?(?:\*\*)?\s*(?P<verb>is|are|=|:)(?:\s*:)?(?:\*\*)?"
    r"[ \t]*(?=(?P<rest>[^\n]{0,400}))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?:](?=\s|$)|;|,\s(?=[A-Za-z]{2})|\s(?:because|since|as|so)\s")
_BOX_OPENING = re.compile(r"\\f?boxed\s*\{")
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}\b")
#: Longer answers are cut; no answer that a reference could equal is as long.
MAX_ANSWER_CHARS = 2000


def read_answer(text: str) -> str | None:
    """The final answer in a math completion, or None where not even a number is in it."""
    text = before_next_problem(text)
    for reader in (_after_hashes, _stated, last_box, _last_number):
        if (found := reader(text)) is not None:
            return found[:MAX_ANSWER_CHARS]
    return None


def before_next_problem(text: str) -> str:
    """A completion up to where the model goes on to another problem."""
    cut = _NEXT_PROBLEM.search(text)
    return text[: cut.start()] if cut is not None and text[: cut.start()].strip() else text


def stated_answers(text: str) -> Iterator[tuple[int, int, str]]:
    """Every place where a text states an answer outright: after ``####`` or "the answer is", or in a box.

    Yields start and end of the place, and the answer in it.
    """
    for match in _HASHES.finditer(text):
        if answer := _tidy(match[1]):
            yield match.start(1), match.end(1), answer
    for match in _STATED.finditer(text):
        if said := _from_statement(match):
            yield match.start("rest"), match.end("rest"), said
    for start, end in _boxes(text):
        if answer := text[start:end].strip():
            yield start, end, answer


def _after_hashes(text: str) -> str | None:
    """The first line with ``####`` that looks like an answer, as headings of the same form do not, else the last."""
    found = [answer for match in _HASHES.finditer(text) if (answer := _tidy(match[1]))]
    if not found:
        return None
    chosen = next((answer for answer in found if _HASH_ANSWER.match(answer)), found[-1])
    return last_box(chosen) or chosen


def _stated(text: str) -> str | None:
    """The last stated answer."""
    said = (_from_statement(match) for match in reversed(list(_STATED.finditer(text))))
    return next((answer for answer in said if answer), None)


def _from_statement(match: re.Match[str]) -> str | None:
    """The answer that a statement gives: a box, an expression, or the number in a sentence after "is".

    A colon also stands before whole solutions ("Answer: Tom has 3 + 4 = 7, so …"); prose after it states nothing.
    """
    statement = match["rest"]
    box = last_box(statement)
    if box is not None:
        return box
    end = _SENTENCE_END.search(statement)
    sentence = _tidy(statement[: end.start()] if end else statement)
    if plain_number(sentence) is not None or not _WORD.search(sentence):
        return sentence or None
    if match["verb"] in (":", "="):
        return None
    numbers = [number[0] for number in SIGNED_NUMBER_IN_TEXT.finditer(sentence)]
    if not numbers:
        return sentence
    return numbers[0] if sentence.startswith(numbers[0]) else numbers[-1]


def last_box(text: str) -> str | None:
    """What stands in the last ``\\boxed{…}`` that is closed, or None."""
    spans = _boxes(text)
    inside = text[slice(*spans[-1])].strip() if spans else ""
    return inside or None


def _boxes(text: str) -> list[tuple[int, int]]:
    """Start and end of the inside of every outermost closed box, with its braces balanced."""
    spans = []
    position = 0
    while (match := _BOX_OPENING.search(text, position)) is not None:
        depth, position = 1, match.end()
        while position < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth:
            break
        spans.append((match.end(), position - 1))
    return spans


def _last_number(text: str) -> str | None:
    found = [match[0] for match in SIGNED_NUMBER_IN_TEXT.finditer(text)]
    return found[-1] if found else None


def _tidy(answer: str) -> str:
    """An answer without closing punctuation and emphasis."""
    return answer.strip().strip("*`_ \t").rstrip(" .;:!,").strip("*`_ \t")
