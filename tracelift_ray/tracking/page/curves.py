"""The curves of a report as SVG that takes the page's colours, light or dark: a small picture for each chart.

matplotlib draws them; what it writes as ink becomes ``currentColor``, and text stays text. Over each picture lie
strips, one for each step, whose titles say what was measured there: what a browser shows under the pointer. Below it
opens a table of values, for those who use keys, touch or a screen reader.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tracelift_ray.plotting import COLOURS, smoothed
from tracelift_ray.tracking.history import RunHistory
from tracelift_ray.tracking.questions import QUESTIONS, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Label, steps, values, colour and dash.
Curve = tuple[str, list[int], list[float], str, str]

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
#: Strips of a picture at most; they get too thin to point at.
MOST_STRIPS = 200
#: Rows of a table of values at most.
MOST_ROWS = 30
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
    """The picture of a chart and its values; empty where no run has any of its metrics."""
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
        first, last = axes.get_xlim()
        if len(curves) > 1:
            axes.legend()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    picture = _inlined(drawn.getvalue(), name).replace("</svg>", f"{_strips(curves, first, last)}</svg>")
    return picture + _values(name, curves)


def _values(name: str, curves: Sequence[Curve]) -> str:
    """A table that opens, a column for each curve; of more steps than ``MOST_ROWS``, as many evenly, with both ends."""
    measured_at = [dict(zip(steps, values, strict=True)) for _, steps, values, _, _ in curves]
    steps = sorted(set().union(*measured_at))
    rows = min(len(steps), MOST_ROWS)
    chosen = [steps[row * (len(steps) - 1) // max(1, rows - 1)] for row in range(rows)]
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in ("step", *(label for label, *_ in curves)))
    body = "".join(
        f'<tr><th scope="row">{step}</th>'
        + "".join(f"<td>{each[step]:.4g}</td>" if step in each else "<td></td>" for each in measured_at)
        + "</tr>"
        for step in chosen
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<details><summary aria-label="values: {html.escape(name)}">values</summary>{table}</details>'


def _strips(curves: Sequence[Curve], first: float, last: float) -> str:
    """What was measured at each step, over the place where it is drawn; ``first`` and ``last`` are the axis's ends.

    Of more steps than ``MOST_STRIPS`` every second, third, … has one.
    """
    measured_at: dict[int, list[str]] = defaultdict(list)
    for label, steps, values, _, _ in curves:
        for step, value in zip(steps, values, strict=True):
            measured_at[step].append(f"{label} {value:.4g}")
    every = -(-len(measured_at) // MOST_STRIPS)
    chosen = sorted(measured_at)[::every]
    between = [(one + other) / 2 for one, other in itertools.pairwise(chosen)]
    width, height = (72 * inches for inches in _SIZE)
    left, right = (width * _MARGINS[side] for side in ("left", "right"))
    top, bottom = (height * (1 - _MARGINS[side]) for side in ("top", "bottom"))
    places = [left + (right - left) * (at - first) / (last - first) for at in (first, *between, last)]
    rectangles = (
        f'<rect x="{begin:.1f}" y="{top:.1f}" width="{end - begin:.1f}" height="{bottom - top:.1f}">'
        f"<title>{html.escape(chr(10).join([f'step {step}', *measured_at[step]]))}</title></rect>"
        for step, (begin, end) in zip(chosen, itertools.pairwise(places), strict=True)
    )
    return f'<g class="strips">{"".join(rectangles)}</g>'


def _curves(metrics: Sequence[str], runs: Sequence[RunHistory]) -> Iterator[Curve]:
    """Every curve that has been measured; several runs are numbered."""
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
