"""Results pages of which a script writes a part, what stands between two marks and nothing else, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_part(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the marks of part ``name`` of a page. Raises ValueError where the page has no such part."""
    path.write_text(with_part(path.read_text("utf-8"), name, text), "utf-8")


def with_part(page: str, name: str, text: str) -> str:
    """``page`` with another part ``name``."""
    begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
    before, mark, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not mark or not last:
        raise ValueError(f"the page has no part {name}: it needs the lines {begin.strip()} and {end}")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown; all columns but the first are figures."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
