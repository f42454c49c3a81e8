"""Which traces of a problem stay, and whether they make a record: the last look at what the stages made.

Pure, and the same for every way of making traces. Everything that goes is counted by reason.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracelift_ray.data.rubric_records import RubricLabels, RubricTrace
from tracelift_ray.dataset.pipeline.stages import Candidate
from tracelift_ray.dataset.settings import CleanConfig
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

#: Kinds whose flaw is what a trace gives away; all other traces must give nothing away.
LEAKS = frozenset({"leaked_answer", "leaked_implementation"})
_PLACEHOLDER = re.compile(
    r"\[[A-Za-z][\w ,'-]*\]|<[A-Za-z][\w '-]*>|\{[A-Za-z_]\w*\}|\bTODO\b|\bTBD\b|\blorem ipsum\b|\bas an ai\b"
    r"|^\s*\.\.\.\s*$|\byour (?:answer|code|reasoning) here\b",
    re.IGNORECASE | re.MULTILINE,
)
_TOKENS = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[-+*/=<>?\u00d7\u00f7]")


@dataclass(frozen=True)
class Cleaned:
    """The traces of a problem that stay. ``refused`` says why they make no record, and is None where they do."""

    positives: tuple[RubricTrace, ...]
    negatives: tuple[RubricTrace, ...]
    dropped: Counter[str]
    refused: str | None


def clean_traces(
    problem: Problem, judged: Iterable[tuple[Candidate, RubricLabels | None]], rules: CleanConfig
) -> Cleaned:
    """Drop what should not be learned from, the first reason of each trace counted in ``dropped``.

    Args:
        judged: the good traces before the flawed ones, each with its rubric; None where the judge had none to give.
    """
    dropped: Counter[str] = Counter()
    good: list[RubricTrace] = []
    bad: list[RubricTrace] = []
    for trace, rubric in judged:
        fault = "no rubric that can be read"
        if rubric is not None:
            fault = _text_fault(problem, trace, rules) or _fault_beside(trace, rubric.total, good, bad, rules)
        if rubric is None or fault:
            dropped[fault] += 1
            continue
        extra = {} if trace.kind is None else {"place": trace.place}
        kept = good if trace.kind is None else bad
        kept.append(RubricTrace(trace.reasoning, rubric.labels, rubric.total, trace.kind, extra))
    refused = None
    if not good:
        refused = "no good trace is left"
    elif len(bad) < rules.min_negatives:
        refused = f"fewer than {rules.min_negatives} flawed traces"
    return Cleaned(tuple(good), tuple(bad), dropped, refused)


def _text_fault(problem: Problem, trace: Candidate, rules: CleanConfig) -> str:
    """What is wrong with a trace by itself; empty: nothing."""
    text = trace.reasoning
    if len(text) < rules.min_chars:
        return "too short"
    if len(text) > rules.max_chars:
        return "too long"
    task, leak = task_of(problem.task), trace.kind in LEAKS
    known = f"{problem.statement}\n{problem.solution}" if task.runs_programs else problem.statement
    if not (task.runs_programs and leak) and placeholder(text, known):
        return "holds a placeholder"
    if not leak and task.leaks(problem, text):
        return "holds program code" if task.runs_programs else "gives the answer away"
    return ""


def _fault_beside(
    trace: Candidate, total: float, good: Sequence[RubricTrace], bad: Sequence[RubricTrace], rules: CleanConfig
) -> str:
    """What is wrong with a trace beside those that stay, or with its total; empty: nothing."""
    tokens = _tokens(trace.reasoning)
    like = good if trace.kind is None else [other for other in bad if other.negative_kind == trace.kind]
    if trace.kind is not None and any(tokens == _tokens(other.reasoning) for other in good):
        return "the same as a good trace"
    if any(_alike(tokens, _tokens(other.reasoning), rules.max_similarity) for other in like):
        return "nearly the same as another"
    if trace.kind is None:
        return "a good trace that the judge finds bad" if total < rules.min_positive_total else ""
    no_worse = total >= max((other.total for other in good), default=0.0)
    return "a flawed trace that the judge finds no worse" if no_worse else ""


def placeholder(text: str, known: str) -> str | None:
    """Something that was to be filled in and was not, such as ``[number]``; what is known is none."""
    found = (match.group() for match in _PLACEHOLDER.finditer(text))
    return next((text for text in found if text not in known), None)


def _tokens(text: str) -> list[str]:
    return _TOKENS.findall(text.lower())


def _alike(left: list[str], right: list[str], limit: float) -> bool:
    """Whether two traces calculate the same in words that agree to more than ``limit``."""
    if [t for t in left if not t.isalpha()] != [t for t in right if not t.isalpha()]:
        return False
    words, others = ([t for t in tokens if t.isalpha()] for tokens in (left, right))
    return difflib.SequenceMatcher(a=words, b=others, autojunk=False).ratio() > limit
