"""What all pictures of the project have in common: colours, style, empty panels, and lines that are smoothed.

Pictures are drawn with matplotlib's file-only backend, which needs no display and leaves a caller's own figures alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Distinct also for colour-blind readers.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
FAINT = "#9aa0a8"
_INK = "#30343b"
_STYLE: Any = {
    "font.size": 10.5,
    "text.color": _INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.markersize": 4.5,
}
_DPI = 140


@contextmanager
def picture(
    path: Path, rows: int, columns: int, size: tuple[float, float]
) -> Iterator[tuple[Figure, list[list[Axes]]]]:
    """A figure and its panels, row by row, to draw on; written to ``path`` as a PNG at the end.

    Args:
        size: width and height in inches.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1), facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False)
        yield figure, [list(row) for row in panels]
        figure.savefig(path, dpi=_DPI)


def smoothed(values: Sequence[float]) -> list[float]:
    """Trailing means over a twentieth of the run, so that a trend shows through the noise of small batches."""
    window = max(1, len(values) // 20)
    return [statistics.fmean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]
