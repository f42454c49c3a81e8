"""The bench's document as a page: one table of figures, and how each part was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.figures import Figure, amount, bound, of
from benchmarks.peers import published

HEAD = """# The bench

```
make bench
```

Written by `python -m benchmarks.all`; what it measures is said at the top of each script in `benchmarks/`. Ratios are
of two sides that take turns in one run. A goal that is not kept says so. Where a peer publishes a figure for the same
thing, it stands beside ours, on the machine that it names. Why a goal is missed is said in
[performance](performance.md).

"""


def markdown(document: Mapping[str, Any]) -> str:
    """The page."""
    parts = document["parts"]
    rows = ["| measured | value | goal | rounds | best peer publishes | notes |", "|---|--:|--:|---|---|---|"]
    rows += [row(of(figure)) for part in parts.values() for figure in part["figures"]]
    failed = [f"- `{part['command']}`: {part['failure']}" for part in parts.values() if part["failure"]]
    why = "Parts that failed when they ran last; their figures are of the run before:"
    failures = ["", why, "", *failed] if failed else []
    return HEAD + "\n".join([*rows, *failures, "", "## How it was run", "", *runs(parts)]) + "\n"


def row(figure: Figure) -> str:
    """A line of the table."""
    missed = "" if figure.kept in (None, True) else " missed"
    value = f"{amount(figure.value)} {figure.unit}"
    cells = (
        figure.name,
        value,
        f"{bound(figure)}{missed}",
        figure.spread,
        figure.peer or published(figure.name),
        figure.note,
    )
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def runs(parts: Mapping[str, Any]) -> Iterator[str]:
    """Commands with their time and load, below the machine that they ran on."""
    shown = None
    for part in parts.values():
        where = ", ".join(f"{name} {value}" for name, value in part["machine"].items())
        if where != shown:
            yield from (*([""] if shown else []), f"On {where}:", "")
            shown = where
        yield f"- `{part['command']}`: {part['at']}, {part['seconds']:.0f} s, load average {part['load']}"
