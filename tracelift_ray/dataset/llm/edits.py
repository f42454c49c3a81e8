"""Asks for the reasoning behind a solution and for one flaw in it, and checks that a flaw is a local change.

Pure text in, text or values out. The kinds are those that the rules know, told in words.
"""

from __future__ import annotations

import difflib
import re

from tracelift_ray.dataset.pipeline.clean import placeholder
from tracelift_ray.tasks.code import CODE
from tracelift_ray.tasks.math import MATH
from tracelift_ray.tasks.table import task_of
from tracelift_ray.tasks.traces import CLOSING_TAG, OPENING_TAG
from tracelift_ray.types import Problem

#: What each kind of flaw is, as told to the model.
FLAWS: dict[str, dict[str, str]] = {
    MATH: {
        "arithmetic_slip": "one result is computed wrong, and every later step that uses it goes on from that value",
        "wrong_operation": "one step uses another operation than the problem calls for (adds where it should subtract, "
        "say), computes it correctly, and later steps go on with the result",
        "swapped_quantities": "two quantities of the problem are exchanged in one step, and later steps go on with the "
        "result",
        "misread_condition": "one condition or number of the problem is read as another one, and all is computed "
        "consistently with that reading",
        "contradiction": "a later step goes on with another value than the one that an earlier step found",
        "dropped_step": "one step that later steps need is left out, and nothing takes its place",
        "swapped_steps": "two steps stand in the wrong order, so that a result is used before it is found",
        "irrelevant_step": "one correct step is added that the solution does not need",
        "premature_answer": "the reasoning stops early and takes a result on the way for the last one",
        "leaked_answer": "the final answer is stated outright",
    },
    CODE: {
        "wrong_algorithm": "the central idea is replaced by a plausible one that gives wrong results",
        "wrong_complexity": "one step is replaced by a correct one that is far too slow for large inputs",
        "missed_edge_case": "a special case that needs handling is not handled any more",
        "off_by_one": "one bound, index or count is off by one",
        "wrong_data_structure": "a data structure is replaced by one that cannot do what the plan needs of it",
        "leaked_implementation": "one step is written as program code instead of as a plan",
    },
}
_TAGGED = re.compile(re.escape(OPENING_TAG) + r"(.*?)" + re.escape(CLOSING_TAG), re.DOTALL)
_REMARKS = re.compile(
    r"\b(?:flaw\w*|mistake\w*|error\w*|incorrect\w*|wrong\w*|erroneous\w*|modif\w+|altered|edited|intentional\w*"
    r"|deliberate\w*|original reasoning)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+|[^\w\s]")
#: Words are the same for the check of what an edit is about where they begin with the same letters.
_STEM = 3
_FUNCTION = frozenset(
    {"the", "and", "are", "for", "was", "were", "that", "this", "with", "from", "also", "then", "has", "have", "had"}
    | {"but", "not", "its", "his", "her"}
)
_ANSWER_STEMS = frozenset({"ans", "fin", "res", "tot"})
_LENGTHS = (0.5, 1.7)


def narration_prompt(problem: Problem) -> str:
    """The request to tell the reference solution as reasoning; the reply is for ``read_edit``."""
    writes, keeps = "the final answer", "that answer: end with the calculation that gives it, and ? for its result"
    if task_of(problem.task).runs_programs:
        writes, keeps = "the program", "its code: say what is built, in which order, and which special cases matter"
    return (
        "Below are a problem and its reference solution. Write the reasoning that leads to the solution, one step a "
        f"line, so that a reader who sees only the problem and the reasoning can write {writes}. Leave out {keeps}. "
        "Do not mention that a solution was given.\n\n"
        f"Problem: {problem.statement}\n\nReference solution:\n{problem.solution}\n\n"
        f"Reply with the reasoning between {OPENING_TAG} and {CLOSING_TAG}, and nothing else."
    )


def edit_prompt(problem: Problem, trace: str, kind: str) -> str:
    """The request for one flaw of ``kind``; the reply is for ``read_edit``."""
    return (
        "Below are a problem and a piece of correct reasoning about it. Rewrite the reasoning so that it has exactly "
        f"one flaw: {FLAWS[problem.task][kind]}. Change as few words as you can, and keep the wording, the layout and "
        "the style of everything else. The result must read as if it were meant seriously: do not mention the flaw, "
        "and do not hint at it.\n\n"
        f"Problem: {problem.statement}\n\n"
        f"Reasoning:\n{trace}\n\n"
        f"Reply with the whole rewritten reasoning between {OPENING_TAG} and {CLOSING_TAG}, and nothing else."
    )


def read_edit(reply: str) -> str | None:
    """The reasoning in a reply; None where it is not tagged exactly once, or empty."""
    found = _TAGGED.findall(reply)
    return (found[0].strip() or None) if len(found) == 1 else None


def edit_fault(problem: Problem, trace: str, edited: str, max_changed: float) -> str | None:
    """Why an edit is not a local one of ``trace`` that stays on the task, or None.

    Args:
        max_changed: largest share of the words (of the longer of the two) that may differ.
    """
    before, after = _WORD.findall(trace), _WORD.findall(edited)
    if before == after:
        return "an edit that changes nothing"
    if not _LENGTHS[0] <= len(after) / len(before) <= _LENGTHS[1]:
        return "an edit that changes the length too much"
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    if 1 - same / max(len(before), len(after)) > max_changed:
        return "an edit that changes too much"
    if len(_REMARKS.findall(edited)) > len(_REMARKS.findall(trace)):
        return "an edit that speaks of its flaw"
    if placeholder(edited, f"{problem.statement}\n{trace}"):
        return "an edit with a placeholder"
    if _strays(after[slice(*_changed_span(before, after))], [*_WORD.findall(problem.statement), *before]):
        return "an edit that strays from the problem"
    return None


def _strays(new: list[str], known: list[str]) -> bool:
    """Whether none of the words that carry meaning in ``new`` has to do with the known ones."""
    said = _content(new)
    familiar = {word[:_STEM] for word in _content(known)} | _ANSWER_STEMS
    return len(said) > 1 and not any(word[:_STEM] in familiar for word in said)


def _content(words: list[str]) -> list[str]:
    return [word for word in map(str.lower, words) if word.isalpha() and len(word) >= _STEM and word not in _FUNCTION]


def edit_place(trace: str, edited: str) -> float:
    """Where the first change is: 0 at the start of the trace, 1 at its end."""
    before, after = _WORD.findall(trace), _WORD.findall(edited)
    start, _ = _changed_span(before, after)
    return round(min(1.0, start / max(1, len(before) - 1)), 3)


def _changed_span(before: list[str], after: list[str]) -> tuple[int, int]:
    """The words ``[start, end)`` of ``after`` that neither begin nor end as ``before`` does."""
    most = min(len(before), len(after))
    start = next((i for i in range(most) if before[i] != after[i]), most)
    tail = next((i for i in range(most - start) if before[-1 - i] != after[-1 - i]), most - start)
    return start, len(after) - tail
