"""Flaws in plans that nobody narrated, such as those sampled from a model: words and sentences of the text are changed.

Nothing is run here, so only changes are made that turn a plan's meaning around for certain: the largest for the
smallest, at least for more than, a special case that is left out, a line of the reference program.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from tracelift_ray.dataset.pipeline.stages import Flawed
from tracelift_ray.types import Problem

#: Words that are each other's opposite in a plan, by the kind of mistake that it is to confuse them.
_SWAPS: dict[str, tuple[tuple[str, str], ...]] = {
    "wrong_algorithm": (
        ("largest", "smallest"), ("maximum", "minimum"), ("ascending", "descending"), ("even", "odd"),
        ("first", "last"), ("multiply", "add"), ("product", "sum"), ("increase", "decrease"), ("union", "intersection"),
        ("prefix", "suffix"), ("row", "column"), ("upper case", "lower case"), ("uppercase", "lowercase"),
    ),
    "off_by_one": (
        ("at least", "more than"), ("at most", "less than"), ("greater than or equal to", "greater than"),
        ("less than or equal to", "less than"), ("inclusive", "exclusive"), ("n - 1", "n"), ("n + 1", "n"),
        ("up to and including", "up to but not including"),
    ),
    "wrong_data_structure": (
        ("stack", "queue"), ("set", "list"), ("dictionary", "list"), ("hash map", "list"), ("min-heap", "max-heap"),
    ),
}  # fmt: skip
_SENTENCE = re.compile(r"[^.\n]+(?:\.(?=\s|$)|\n|$)")
_SPECIAL_CASE = re.compile(
    r"\s*(?:[-*\d.]+\s*)?(?:[^,.]*\b)?(?:edge case|special case|if |when |unless |handle )", re.I
)
_MIN_SENTENCES = 3
_MAX_LEAK_CHARS = 90


def text_flaws(problem: Problem, trace: str, rng: random.Random) -> dict[str, Iterator[Flawed]]:
    """Flawed copies of a trace by kind, in random order."""
    sources = {kind: _swapped(trace, kind, pairs, rng) for kind, pairs in _SWAPS.items()}
    sources["missed_edge_case"] = _without_case(trace, rng)
    sources["leaked_implementation"] = _leaking(problem, trace, rng)
    return sources


def _swapped(trace: str, kind: str, pairs: tuple[tuple[str, str], ...], rng: random.Random) -> Iterator[Flawed]:
    """One word for its opposite, at one place."""
    places: list[tuple[int, int, str]] = []
    for pair in pairs:
        for old, new in (pair, pair[::-1]) if kind != "off_by_one" or " " in pair[1] else (pair,):
            for match in re.finditer(rf"\b{re.escape(old)}\b", trace):
                places.append((match.start(), match.end(), new))
    rng.shuffle(places)
    for start, end, new in places:
        yield Flawed(trace[:start] + new + trace[end:], kind, start / len(trace))


def _without_case(trace: str, rng: random.Random) -> Iterator[Flawed]:
    """A sentence about a case of its own is missing."""
    sentences = list(_SENTENCE.finditer(trace))
    cases = [match for match in sentences if _SPECIAL_CASE.match(match.group())]
    rng.shuffle(cases)
    for match in cases if len(sentences) >= _MIN_SENTENCES else []:
        left = (
            trace[: match.start()].rstrip(" ") + " " * (match.start() > 0) + trace[match.end() :].lstrip(" ")
        ).strip()
        yield Flawed(left, "missed_edge_case", match.start() / len(trace))


def _leaking(problem: Problem, trace: str, rng: random.Random) -> Iterator[Flawed]:
    """A sentence is followed by a line of the reference program."""
    lines = [line.strip() for line in (problem.solution or "").split("\n")]
    lines = [line for line in lines if "=" in line or line.startswith(("return ", "for ", "while "))]
    lines = [line for line in lines if len(line) <= _MAX_LEAK_CHARS]
    ends = [match.end() for match in _SENTENCE.finditer(trace) if match.group().strip()]
    rng.shuffle(lines)
    for line in lines:
        at = rng.choice(ends)
        yield Flawed(
            f"{trace[:at].rstrip()} `{line}` {trace[at:].lstrip(' ')}".strip(), "leaked_implementation", at / len(trace)
        )
