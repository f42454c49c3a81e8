"""The report of one run, or of several side by side: a table for the terminal and as Markdown, a picture, and a page.

Everything is read from the files of the run directory, so a run can be reported while it goes on. The page is one HTML
file that needs no network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tracelift_ray.tracking.figures import draw_comparison, draw_run
from tracelift_ray.tracking.history import RunHistory, load_history
from tracelift_ray.tracking.page.page import page
from tracelift_ray.tracking.run_dir import RunDirectoryError
from tracelift_ray.tracking.tables import Cells, before_after, comparison, difference


@dataclass(frozen=True)
class Report:
    """What was made.

    Attributes:
        table: None for a run that has no evaluation yet.
        picture: the PNG with the curves.
        markdown: the file with the table and a link to the picture.
        page: the HTML file with tables, curves and traces.
    """

    table: Cells | None
    picture: Path
    markdown: Path
    page: Path

    def show(self, console: Console) -> None:
        """Print the table and where the files are."""
        if self.table is not None:
            console.print(self.table.rich())
        else:
            console.print("no evaluation yet, so there is no table; the picture shows the training reward")
        files = f"picture: {self.picture}\ntable:   {self.markdown}\npage:    {self.page}"
        console.print(files, soft_wrap=True, highlight=False)


def write_report(
    paths: Sequence[str | Path], out: Path | None = None, doing: Callable[[str], None] = lambda what: None
) -> Report:
    """Report one run, or compare several kinds over their seeds.

    Args:
        paths: run directories, at least one.
        out: where ``report.png``, ``.md`` and ``.html`` go (``comparison.*`` for several runs); the run directory of a
            single run, or the folder that holds the first of several, by default.
        doing: is called with what is done now, when that begins.

    Raises:
        RunDirectoryError: a directory is no run, or has measured nothing.
        DataError: a ``metrics.jsonl`` or ``trajectories.jsonl`` is broken.
    """
    runs = [load_history(path) for path in paths]
    single = len(runs) == 1
    folder = out or (runs[0].path if single else runs[0].path.parent)
    for run in runs:
        if not single and not run.evaluations:
            raise RunDirectoryError(f"{run.path} holds no evaluation yet, so it cannot be compared")
        if not run.evaluations and not run.training:
            raise RunDirectoryError(f"{run.path} holds no metrics yet; report it after its first step")
    folder.mkdir(parents=True, exist_ok=True)
    stem = "report" if single else "comparison"
    picture, markdown = folder / f"{stem}.png", folder / f"{stem}.md"
    doing(f"drawing {picture}")
    if single:
        table = before_after(runs[0])
        draw_run(runs[0], picture)
    else:
        table = comparison(runs)
        draw_comparison(runs, picture)
    text = table.markdown() if table is not None else "No evaluation yet.\n"
    markdown.write_text(f"{text}\n![curves]({picture.name})\n", "utf-8")
    html = folder / f"{stem}.html"
    doing(f"writing {html}")
    html.write_text(page(runs, _tables(runs, table)), "utf-8")
    return Report(table, picture, markdown, html)


def _tables(runs: Sequence[RunHistory], table: Cells | None) -> list[Cells]:
    """The tables of the page: that of the terminal, of two runs their difference, and each run's before and after."""
    pair = difference(*runs) if len(runs) == 2 else None
    each = [before_after(run) for run in runs] if len(runs) > 1 else []
    return [found for found in (table, pair, *each) if found is not None]
