"""The curves of a report as SVG that takes the page's colours, light or dark: a small picture for each chart.

matplotlib draws them; what it writes as ink becomes ``currentColor``, and text stays text.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tracelift_ray.plotting import COLOURS, smoothed
from tracelift_ray.tracking.history import RunHistory
from tracelift_ray.tracking.questions import QUESTIONS, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _FAINT = "#123456", "#123457"  # stand-ins, each replaced by a colour of the page
_SIZE = (3.6, 2.35)
#: Room for numbers of six digits; a layout that measures them takes longer than all the rest.
_MARGINS = {"left": 0.17, "right": 0.97, "top": 0.91, "bottom": 0.2}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.4,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
}
#: Line styles: one for each run. Colours are for the curves of a run.
_DASHES = ("-", "--", ":", "-.")


def question_sections(runs: Sequence[RunHistory]) -> Iterator[str]:
    """A section of HTML for each question that the runs have measured anything of."""
    for question in QUESTIONS:
        pictures = [svg for name, metrics in question.charts.items() if (svg := chart_svg(name, metrics, runs))]
        if pictures:
            title, well = html.escape(question.title), html.escape(question.well)
            figures = "".join(f"<figure>{svg}</figure>" for svg in pictures)
            yield f'<section><h2>{title}</h2><p>{well}</p><div class="panels">{figures}</div></section>'


def chart_svg(name: str, metrics: Sequence[str], runs: Sequence[RunHistory]) -> str:
    """The picture of a chart; empty where no run has any of its metrics."""
    curves = list(_curves(metrics, runs))
    if not curves:
        return ""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=_SIZE)
        FigureCanvasSVG(figure)
        axes = figure.subplots(gridspec_kw=_MARGINS)
        for label, steps, values, colour, dash in curves:
            _draw(axes, label, steps, values, colour, dash)
        axes.set_xlabel("step")
        if len(curves) > 1:
            axes.legend()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inlined(drawn.getvalue(), name)


def _curves(
    metrics: Sequence[str], runs: Sequence[RunHistory]
) -> Iterator[tuple[str, list[int], list[float], str, str]]:
    """Label, steps, values, colour and dash of every curve that has been measured; several runs are numbered."""
    names = measured(metrics, frozenset().union(*(run.names for run in runs)))
    for number, run in enumerate(runs):
        for index, (label, metric) in enumerate(names.items()):
            steps, values = run.series(metric)
            if steps:
                told = f"{number + 1}: {label}" if len(runs) > 1 else label
                yield told, steps, values, COLOURS[index % len(COLOURS)], _DASHES[number % len(_DASHES)]


def _draw(axes: Axes, label: str, steps: list[int], values: list[float], colour: str, dash: str) -> None:
    """Few points as they are; many faintly, with their trend over them."""
    if len(steps) <= 25:
        axes.plot(steps, values, color=colour, linestyle=dash, marker="o", label=label)
        return
    axes.plot(steps, values, color=colour, linestyle=dash, linewidth=0.6, alpha=0.45)
    axes.plot(steps, smoothed(values), color=colour, linestyle=dash, label=label)


def _inlined(svg: str, title: str) -> str:
    """The ``svg`` element alone, in the page's colours, with a title for those who do not see it."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").replace(_FAINT, "var(--faint)")
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)  # the page has its own style
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    shown = html.escape(title)
    return f"<figcaption>{shown}</figcaption>" + svg.replace("<svg", f'<svg role="img" aria-label="{shown}"', 1)
