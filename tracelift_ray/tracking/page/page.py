"""A report as one HTML file: tables, curves of five questions, and a reader of traces. It needs no network.

The page allows its own script alone, by hash, and asks for nothing. What comes from a run is escaped in the tables, is
text in the curves, and is data for the reader (``traces.py``, ``packing.py``).
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template

from tracelift_ray.tracking.history import RunHistory
from tracelift_ray.tracking.page.curves import question_sections
from tracelift_ray.tracking.page.packing import packed
from tracelift_ray.tracking.page.traces import traces_data
from tracelift_ray.tracking.tables import NAMES, Cells

_HERE = Path(__file__).resolve().parent
#: The reader; together one script.
SCRIPTS = ("traces.js", "filters.js", "group.js", "reader.js")


def page(runs: Sequence[RunHistory], tables: Sequence[Cells]) -> str:
    """The page about one run, or about several side by side."""
    script = "\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS)
    names = ", ".join(dict.fromkeys(run.name for run in runs))
    return Template((_HERE / "page.html").read_text("utf-8")).substitute(
        title=html.escape(f"tracelift: {names}"),
        style=(_HERE / "page.css").read_text("utf-8"),
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        tables="".join(map(table_html, tables)) or "<p>No evaluation yet.</p>",
        curves=_numbered(runs) + "".join(question_sections(runs)),
        data=packed(traces_data(runs)),
    )


def _numbered(runs: Sequence[RunHistory]) -> str:
    """Which run has which number in the legends, where there are several."""
    if len(runs) < 2:
        return ""
    items = "".join(f"<li>{html.escape(f'{run.name}: {run.arm}, seed {run.seed} ({run.path})')}</li>" for run in runs)
    return f"<h2>Runs</h2><ol>{items}</ol>"


def table_html(cells: Cells) -> str:
    """A table; every cell is escaped."""

    def row(texts: Sequence[str], tag: str) -> str:
        number = f'{tag} class="number"'
        return "".join(
            f"<{number if index >= NAMES else tag}>{html.escape(each)}</{tag}>" for index, each in enumerate(texts)
        )

    body = "".join(f"<tr>{row(each, 'td')}</tr>" for each in cells.rows)
    head = f"<caption>{html.escape(cells.title)}</caption><thead><tr>{row(cells.columns, 'th')}</tr></thead>"
    return f"<table>{head}<tbody>{body}</tbody></table>"
