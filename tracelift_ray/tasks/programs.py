"""Reads a program out of a completion, and finds and masks the programs in a trace.

A program is the first fenced block, else the text from the first line that is not a remark up to a closing remark. A
trace holds one where it has a fenced block or a line that is part of a program: a definition, an import, a read of the
input, a print. All of it takes time linear in the text.
"""

from __future__ import annotations

import re

from tracelift_ray.tasks.traces import MASK

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+.-]*)[^\n`]*$", re.MULTILINE)
#: A whole fenced block, the first of which is read.
ANSWERED = r"^[ \t]*```[^\n`]*\n(?:[^\n]*\n)*?[ \t]*```[^\n`]*\n"
_REMARK = re.compile(
    r"(?:(?:This|The|Here|Here's|In|It|You|We|Let|Let's|Note|To|Now|Then|For|Explanation|Output|Input|Example|Answer|"
    r"Sure|Certainly|Reasoning|Problem|Test|Tests|Usage|Time|Space|And|I|If|Please|Your|My)\b"
    r"(?!\s*[=(.\[,+-])(?=[\s:,'*!.]).*|\[/?[A-Z]+\]|</?[A-Za-z]+>|\*\*.*|>{2,}.*|-{3,}|={3,}|\d+\.\s.*|[-*]\s.*)$"
)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_PROGRAM_PARTS = re.compile(
    r"\bdef\s+\w+\s*\(|^\s*class\s+\w+\s*(?:\([\w., ]*\))?:\s*$|=\s*(?:\w+\()*input\(|(?:^|;)\s*print\s*\(|=\s*lambda\b"
    r"|^\s*import\s+[\w.]+(?:\s*,\s*[\w.]+)*(?:\s+as\s+\w+)?\s*$|^\s*from\s+[\w.]+\s+import\b"
)


def read_program(text: str) -> str | None:
    """The program in a code completion, or None where there is none."""
    fences = list(_FENCE.finditer(text))
    if fences:
        first = fences[0]
        if len(fences) == 1 and not first[1] and not text[first.end() :].strip():
            # One bare fence with nothing behind it closes a block that the prompt opened.
            return _program(text[: first.start()].split("\n"))
        end = fences[1].start() if len(fences) > 1 else len(text)
        return _block(text[first.end() : end])
    return _program(text.split("\n"))


def _block(text: str) -> str | None:
    """Code without blank lines around it; None where nothing is left."""
    program = text.strip("\r\n").rstrip()
    return program if program.strip() else None


def _program(lines: list[str]) -> str | None:
    """Lines from the first that is not a remark up to the next remark."""
    start = 0
    while start < len(lines) and (not lines[start].strip() or _is_remark(lines[start])):
        start += 1
    end = start
    while end < len(lines) and not _is_remark(lines[end]):
        end += 1
    return _block("\n".join(lines[start:end]))


def _is_remark(line: str) -> bool:
    """Whether a line is prose or markup. Indented lines never are: they belong to a block of code."""
    return bool(line) and not line[0].isspace() and _REMARK.match(line.rstrip()) is not None


def holds_program(reasoning: str) -> bool:
    """Whether a text shows program code, by the rules above."""
    return _FENCED.search(reasoning) is not None or any(map(_PROGRAM_PARTS.search, reasoning.split("\n")))


def mask_program(reasoning: str) -> str:
    """``reasoning`` with ``?`` for every fenced block and program line; what is returned holds no program.

    The indented lines of a block that a masked line opens go with it.
    """
    kept: list[str] = []
    in_block = False
    for line in _FENCED.sub(MASK, reasoning).split("\n"):
        if in_block and (not line.strip() or line[0].isspace()):
            continue
        shown = _PROGRAM_PARTS.search(line) is None
        in_block = not shown and line.rstrip().endswith(":")
        kept.append(line if shown else MASK)
    return "\n".join(kept)
