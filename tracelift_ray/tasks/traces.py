"""Reads a planner's completion as a trace, and finds and masks answers that a trace gives away.

A trace is the text inside ``<reasoning>…</reasoning>``; text outside the tag is no reasoning and is shown to nobody.

**Leaks in math.** A trace leaks where it states the reference answer outright (``####``, "the answer is", a box), or
where the result it states last (after ``=``, an arrow, "is", "equals", "gives" and the like) is the reference answer
and no further calculation follows. Earlier results of the same value are taken for intermediate ones: that the numbers
happen to be equal is no leak. So the rate is a lower bound; a trace that spells its answer out in words is missed.

**Leaks in code.** A fenced block, or a line that is part of a program: a definition, an import, a read of the input, a
print.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from tracelift_ray.tasks.artifacts import stated_answers
from tracelift_ray.tasks.numbers import SIGNED_NUMBER_IN_TEXT, PlainNumber, plain_number, same_number
from tracelift_ray.tasks.prompts import CLOSING_TAG, OPENING_TAG
from tracelift_ray.types import Completion, Malformed, Problem, Prompt, Trace

#: Stands where an answer was.
MASK = "?"

_RESULT_MARKS = r"=|->|\u2192|\u2248|\b(?:is|are|equals|gives|makes|leaves|yields|gets?|totals?|becomes)"
_RESULT = re.compile(rf"(?:{_RESULT_MARKS})[ \t]*(?=[-\u2212$€£¥₹]*\.?[0-9])")
_OPERATION = re.compile(r"[0-9)?][ \t]*[-+*/x\u00d7\u00f7\u2212^][ \t]*(?=[(0-9?])")
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_PROGRAM_PARTS = re.compile(
    r"\bdef\s+\w+\s*\(|^\s*class\s+\w+\s*(?:\([\w., ]*\))?:\s*$|=\s*(?:\w+\()*input\(|(?:^|;)\s*print\s*\(|=\s*lambda\b"
    r"|^\s*import\s+[\w.]+(?:\s*,\s*[\w.]+)*(?:\s+as\s+\w+)?\s*$|^\s*from\s+[\w.]+\s+import\b"
)


def read_trace(
    problem: Problem, index: int, prompt: Prompt, completion: Completion, opened: bool, whole_text: bool = False
) -> Trace:
    """Reads one completion as the trace ``index`` of ``problem``.

    Args:
        opened: the prompt already ends with the opening tag.
        whole_text: a malformed trace keeps its kind, and its text without tags serves as the reasoning.

    An empty trace has no reasoning under either rule.
    """
    reasoning, malformed = _read(completion, opened)
    if malformed is not None and malformed != "empty" and whole_text:
        text = completion.text.replace(OPENING_TAG, "").replace(CLOSING_TAG, "").strip()
        reasoning, malformed = (text, malformed) if text else (None, "empty")
    return Trace(problem.id, index, prompt.token_ids, completion, reasoning, malformed)


def _read(completion: Completion, opened: bool) -> tuple[str | None, Malformed | None]:
    text = completion.text
    start = text.find(OPENING_TAG)
    if opened and text[: max(start, 0)].strip():
        start = -1  # A second opening tag in the middle opens nothing.
    if start >= 0:
        text = text[start + len(OPENING_TAG) :]
    elif not opened:
        return None, "unopened"
    inside, tag, _ = text.partition(CLOSING_TAG)
    if not tag:
        return None, "length" if completion.finish_reason == "length" else "unclosed"
    inside = inside.strip()
    return (inside, None) if inside else (None, "empty")


def leaks_answer(problem: Problem, reasoning: str) -> bool:
    """Whether ``reasoning`` gives away the reference answer (math) or a program (code), by the rules above."""
    if problem.task == "code":
        return _FENCED.search(reasoning) is not None or any(map(_PROGRAM_PARTS.search, reasoning.split("\n")))
    return problem.answer is not None and next(_leaks(problem.answer, reasoning), None) is not None


def mask_answer(problem: Problem, reasoning: str) -> str:
    """``reasoning`` with ``?`` for what it gives away; unchanged where it does not leak.

    In math every mention of the answer from the first leak on is masked, in code every fenced block and program line.
    What is returned does not leak by the same rules.
    """
    if problem.task == "code":
        return _mask_program(_FENCED.sub(MASK, reasoning))
    if problem.answer is None or problem.answer.strip() == MASK:
        return reasoning
    leaks = sorted(_leaks(problem.answer, reasoning))
    if not leaks:
        return reasoning
    mentions = list(_mentions(problem.answer, reasoning, leaks[0][0]))
    starts = [start for start, _ in mentions]
    unnamed = [(start, end) for start, end in leaks if bisect_left(starts, start) == bisect_left(starts, end)]
    masked, position = [], 0
    for start, end in sorted({*mentions, *unnamed}):
        if start >= position:
            masked += [reasoning[position:start], MASK]
            position = end
    return "".join([*masked, reasoning[position:]])


def _mask_program(reasoning: str) -> str:
    """Program lines become the mask; the indented lines of a block that one of them opens go with it."""
    kept: list[str] = []
    in_block = False
    for line in reasoning.split("\n"):
        if in_block and (not line.strip() or line[0].isspace()):
            continue
        shown = _PROGRAM_PARTS.search(line) is None
        in_block = not shown and line.rstrip().endswith(":")
        kept.append(line if shown else MASK)
    return "\n".join(kept)


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
