"""Which traces of a problem stay, and whether they make a record: the last look at what the stages made.

Pure, and the same for every way of making traces. Everything that goes is counted by reason.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
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
class JudgedTrace:
    """A trace with its rubric; None where the judge had none to give."""

    trace: Candidate
    rubric: RubricLabels | None


@dataclass(frozen=True)
class Cleaned:
    """The traces of a problem that stay. ``refused`` says why they make no record, and is None where they do."""

    positives: tuple[RubricTrace, ...]
    negatives: tuple[RubricTrace, ...]
    dropped: Counter[str]
    refused: str | None


def clean_traces(
    problem: Problem, positives: Sequence[JudgedTrace], negatives: Sequence[JudgedTrace], rules: CleanConfig
) -> Cleaned:
    """Drop what should not be learned from, the first reason of each trace counted in ``dropped``."""
    dropped: Counter[str] = Counter()
    good: list[RubricTrace] = []
    for judged in positives:
        fault = _text_fault(problem, judged, rules) or _copy_fault(judged.trace.reasoning, good, (), rules)
        if fault is None and judged.rubric is not None and judged.rubric.total < rules.min_positive_total:
            fault = "a good trace that the judge finds bad"
        _keep(judged, fault, good, dropped)
    best = max((trace.total for trace in good), default=0.0)
    bad: list[RubricTrace] = []
    for judged in negatives:
        same_kind = [trace for trace in bad if trace.negative_kind == judged.trace.kind]
        fault = _text_fault(problem, judged, rules) or _copy_fault(judged.trace.reasoning, same_kind, good, rules)
        if fault is None and judged.rubric is not None and judged.rubric.total >= best:
            fault = "a flawed trace that the judge finds no worse"
        _keep(judged, fault, bad, dropped)
    refused = None
    if not good:
        refused = "no good trace is left"
    elif len(bad) < rules.min_negatives:
        refused = f"fewer than {rules.min_negatives} flawed traces"
    return Cleaned(tuple(good), tuple(bad), dropped, refused)


def _keep(judged: JudgedTrace, fault: str | None, kept: list[RubricTrace], dropped: Counter[str]) -> None:
    if fault is not None or judged.rubric is None:
        dropped[fault or "no rubric that can be read"] += 1
        return
    trace, rubric = judged.trace, judged.rubric
    extra = {} if trace.kind is None else {"place": trace.place}
    kept.append(RubricTrace(trace.reasoning, rubric.labels, rubric.total, trace.kind, extra))


def _text_fault(problem: Problem, judged: JudgedTrace, rules: CleanConfig) -> str | None:
    """What is wrong with a trace by itself."""
    text, kind, task = judged.trace.reasoning, judged.trace.kind, task_of(problem.task)
    if judged.rubric is None:
        return "no rubric that can be read"
    if len(text) < rules.min_chars:
        return "too short"
    if len(text) > rules.max_chars:
        return "too long"
    known = f"{problem.statement}\n{problem.solution}" if task.runs_programs else problem.statement
    if not (task.runs_programs and kind in LEAKS) and placeholder(text, known):
        return "holds a placeholder"
    if kind not in LEAKS and task.leaks(problem, text):
        return "holds program code" if task.runs_programs else "gives the answer away"
    return None


def placeholder(text: str, known: str) -> str | None:
    """Something that was to be filled in and was not, such as ``[number]``; what is known is none."""
    found = (match.group() for match in _PLACEHOLDER.finditer(text))
    return next((text for text in found if text not in known), None)


def _copy_fault(
    text: str, like: Sequence[RubricTrace], unlike: Sequence[RubricTrace], rules: CleanConfig
) -> str | None:
    """Whether a trace says the same as one of ``unlike``, or nearly the same as one of ``like``."""
    tokens = _TOKENS.findall(text.lower())
    if any(tokens == _TOKENS.findall(trace.reasoning.lower()) for trace in unlike):
        return "the same as a good trace"
    if any(_alike(tokens, _TOKENS.findall(trace.reasoning.lower()), rules.max_similarity) for trace in like):
        return "nearly the same as another"
    return None


def _alike(left: list[str], right: list[str], limit: float) -> bool:
    """Whether two traces calculate the same in words that agree to more than ``limit``."""
    if [t for t in left if not t.isalpha()] != [t for t in right if not t.isalpha()]:
        return False
    words, others = ([t for t in tokens if t.isalpha()] for tokens in (left, right))
    return difflib.SequenceMatcher(a=words, b=others, autojunk=False).ratio() > limit
