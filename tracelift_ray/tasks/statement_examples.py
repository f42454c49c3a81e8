"""Reads the examples of a contest statement as tests: what goes in, and what has to come out.

Statements write them in a few usual ways: ``Input`` and ``Output`` on lines of their own or in front of a value,
``Sample Input 1``, ``Example``, with dashes, hashes, stars or code fences around them, one example or many. A statement
also *describes* its input and output under the same headings; descriptions are told apart by being prose.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from tracelift_ray.types import CodeTests

_DECORATION = r"[\s#*_=`>|-]*"
_HEADER = re.compile(
    rf"^{_DECORATION}(?P<sample>(?:sample|example)s?\b(?:\s*test(?:\s*case)?)?)?\s*(?:\#?\d+\s*[:.)]?)?\s*"
    r"(?P<word>inputs?|outputs?|explanations?|notes?|constraints|scoring|subtasks?|examples?|samples?|limits|hints?|"
    r"(?:input|output) (?:format|specification)s?)?(?:\s*copy\b)?"
    rf"\s*(?:for\s+(?:the\s+)?(?:sample|example)s?)?\s*(?:\#?\d+)?{_DECORATION}(?P<colon>:)?(?P<rest>.*?)\s*$",
    re.IGNORECASE,
)
_FOR_SAMPLE = re.compile(r"\bfor\s+(?:the\s+)?(?:sample|example)", re.IGNORECASE)
_DECORATED = re.compile(r"[\s*_`:=|-]*")
_ASSIGNMENT = re.compile(r"^\s*[A-Za-z_]\w*\s*=")
_PROSE_WORDS = 4
_KINDS = {"input": "input", "inputs": "input", "output": "output", "outputs": "output"}


@dataclass
class _Section:
    """What stands under one heading: ``sample`` where the heading says that it is an example."""

    kind: str  # input | output | examples | other
    sample: bool
    lines: list[str]


def statement_examples(statement: str) -> CodeTests | None:
    """The examples of a statement as ``stdio`` tests, each input and output ending in a line break.

    None where there are none, where they are no text to be read and written (``nums = [1, 2]``), or where two of them
    contradict each other.
    """
    found = _pairs(_sections(statement.replace("\r\n", "\n")))
    pairs = [pair for pair, sample in found if sample] or [pair for pair, _ in found]
    tests: dict[str, str] = {}
    for given, wanted in pairs:
        if any(_ASSIGNMENT.match(line) for line in given.split("\n")):
            return None
        if tests.setdefault(given, wanted) != wanted:
            return None
    if not tests:
        return None
    return CodeTests(
        "stdio", inputs=tuple(f"{text}\n" for text in tests), outputs=tuple(f"{text}\n" for text in tests.values())
    )


def _sections(statement: str) -> list[_Section]:
    sections = [_Section("other", False, [])]
    in_examples = False
    for line in statement.split("\n"):
        heading = _heading(line)
        if heading is None:
            sections[-1].lines.append(line)
            continue
        kind, sample, rest = heading
        if kind == "examples":
            in_examples = True
        elif kind == "other":
            in_examples = False
        sections.append(_Section(kind, sample or in_examples, [rest] if rest else []))
    return sections


def _heading(line: str) -> tuple[str, bool, str] | None:
    """Kind, whether it says that it is an example, and what follows on the line; None for a line that is no heading."""
    match = _HEADER.match(line)
    if match is None or not (match["sample"] or match["word"]):
        return None
    rest = match["rest"].strip()
    if rest and not match["colon"]:
        return None  # a sentence that begins with one of the words
    if _DECORATED.fullmatch(rest):
        rest = ""
    word = (match["word"] or "").lower()
    sample = match["sample"] is not None or _FOR_SAMPLE.search(line) is not None
    if not word or word.startswith(("example", "sample")):
        return ("examples", True, "") if not rest else None
    return _KINDS.get(word, "other"), sample, rest.strip("`*")


def _pairs(sections: list[_Section]) -> list[tuple[tuple[str, str], bool]]:
    """Inputs that are followed by an output, with whether they are named as examples; descriptions are left out."""
    found = []
    for first, second in itertools.pairwise(sections):
        if (first.kind, second.kind) != ("input", "output"):
            continue
        given, wanted = _content(first.lines), _content(second.lines)
        if given and wanted and not _is_prose(given) and not _is_prose(wanted):
            found.append(((given, wanted), first.sample or second.sample))
    return found


def _content(lines: list[str]) -> str:
    """The data under a heading: no fences, no blank lines around it, no prose after a blank line."""
    fences = [at for at, line in enumerate(lines) if line.strip().startswith("```")]
    if len(fences) >= 2:
        lines = lines[fences[0] + 1 : fences[1]]
    kept: list[str] = []
    for line in (line.rstrip() for line in lines if not line.strip().startswith("```")):
        if kept and not kept[-1] and _is_prose(line):
            break
        kept.append(line)
    return "\n".join(kept).strip("\n")


def _is_prose(text: str) -> bool:
    """Whether a text has a line that reads as a sentence of a statement."""
    return any(
        len(re.findall(r"[A-Za-z]{2,}", line)) >= _PROSE_WORDS and re.search(r"[.:;,)]\s*$|\b(?:the|is|are|of)\b", line)
        for line in text.split("\n")
    )
