"""A report on a reward model as tables of text, for the console and for Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.reasoning_rm.report.drift import Drift, Mean, Window
from tracelift_ray.reasoning_rm.report.rankings import Interval
from tracelift_ray.reasoning_rm.report.report import HeldOutReport, RmReport
from tracelift_ray.reasoning_rm.training.metrics import RmMetrics

_NONE = "-"


@dataclass(frozen=True)
class TextTable:
    """Rows of cells under columns, and perhaps a line below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def report_tables(report: RmReport) -> list[TextTable]:
    """The tables of every part that the report has."""
    tables = []
    if report.heldout is not None:
        tables += [_rankings(report.heldout), _quality(report.heldout.metrics)]
    if report.drift is not None:
        tables += [_means(report.drift), _orders(report.drift)]
    return tables


def as_markdown(model: str, tables: Sequence[TextTable]) -> str:
    """The tables as a Markdown page with the picture."""
    lines = [f"# Report on {model}", "", "![report](report.png)", ""]
    for table in tables:
        marks = ["---", *["--:"] * (len(table.columns) - 1)]
        lines += [f"## {table.title}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (table.columns, marks, *table.rows)]
        lines += ["", *([table.note, ""] if table.note else [])]
    return "\n".join(lines)


def _rankings(report: HeldOutReport) -> TextTable:
    rankings = report.rankings
    rows = [
        ("pairs in the right order", *(_interval(ranking.pairs) for ranking in rankings)),
        ("groups in the right order", *(f"{ranking.groups:.3f}" for ranking in rankings)),
        ("the RM's advantage in pairs", _NONE, *(_interval(report.advantages[r.name], "+.3f") for r in rankings[1:])),
        *(
            (f"pairs against {kind} ({pairs})", *(f"{ranking.kinds[kind]:.3f}" for ranking in rankings))
            for kind, (_, pairs) in report.metrics.kind_accuracy.items()
        ),
    ]
    return TextTable(
        f"{report.metrics.groups} held-out groups, {report.metrics.traces} traces",
        ("measure", *(ranking.name for ranking in rankings)),
        tuple(rows),
        "In brackets 95 % intervals, groups resampled. By chance: 0.5 of the pairs, and "
        f"{report.metrics.reference.group_accuracy:.3f} of the groups. Length: the better of longer and shorter first.",
    )


def _quality(metrics: RmMetrics) -> TextTable:
    bias, reference = metrics.length_bias, metrics.reference
    rows = [
        ("total, mean error", f"{metrics.total_mae:.3f}", f"{reference.total_mae:.3f}"),
        ("total, root mean square error", f"{metrics.total_rmse:.3f}", f"{reference.total_rmse:.3f}"),
        ("total, calibration error (ECE)", f"{metrics.calibration.error:.3f}", _NONE),
        ("correlation of q with length", _signed(bias.score), _signed(bias.judged)),
        ("the same within groups", _signed(bias.score_within), _signed(bias.judged_within)),
        *(
            (f"label of {name}", f"{share:.3f}", f"{reference.dimension_accuracy[name]:.3f}")
            for name, share in metrics.dimension_accuracy.items()
        ),
    ]
    return TextTable(
        "What it says of single traces",
        ("measure", "reasoning RM", "compare with"),
        tuple(rows),
        "Errors and labels compare with the best constant, the correlations with those of the judged total.",
    )


def _means(drift: Drift) -> TextTable:
    rows = tuple(
        (_steps(window), str(window.traces), *map(_mean, (window.score, window.success, window.uplift, window.judge)))
        for window in drift.windows
    )
    outrun = [
        f"from step {drift.windows[number].first_step} on the RM's score is above where it began while {name} is below "
        "its best"
        for name, number in drift.outrun.items()
        if number is not None
    ]
    verdict = "; ".join(outrun) if outrun else "in no window is the RM's score up while another measure is down"
    return TextTable(
        "The planner's traces during training",
        ("steps", "traces", "RM score", "success", "uplift", "judge"),
        rows,
        f"Means with standard errors. Over-optimisation: {verdict}.",
    )


def _orders(drift: Drift) -> TextTable:
    rows = tuple(
        (_steps(w), *map(_signed, (w.success_order, w.success_within, w.uplift_order, w.judge_order)))
        for w in drift.windows
    )
    return TextTable(
        "How the RM's score orders the traces of a window",
        ("steps", "by success", "by success, in a group", "by uplift", "by judge"),
        rows,
        "Rank correlations over the window's traces; in a group: the correlation among the traces of one problem.",
    )


def _steps(window: Window) -> str:
    return f"{window.first_step} to {window.last_step}"


def _interval(interval: Interval, form: str = ".3f") -> str:
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _mean(mean: Mean | None) -> str:
    return _NONE if mean is None else f"{mean.value:.3f} ± {mean.error:.3f}"


def _signed(value: float | None) -> str:
    return _NONE if value is None else f"{value:+.2f}"
