"""The screen of a run on a terminal: bar, five questions in five lines, the last checkpoint, and an example trace.

It stands below the lines that a run prints, and is drawn again as values come in. Text of models and data is shown as
it is: it is no markup, and control characters in it are spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tracelift_ray.tracking.questions import QUESTIONS

#: What is shown only where there is any: members, nodes and learners that were lost, and what was started again.
LOST, RESTARTED = "lost", "started again"
#: By question: labels, metrics and formats of its line.
FIELDS: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (
        ("reward", "reward/mean", "{:+.3f}"),
        ("success", "system/success", "{:.3f}"),
        ("without trace", "system/baseline", "{:.3f}"),
        ("signal", "reward/signal", "{:.0%}"),
        ("held-out", r"evaluation/.*/accuracy", "{:.3f}"),
    ),
    (
        ("uplift", "system/uplift", "{:+.3f}"),
        ("rubric", "rubric/score", "{:.3f}"),
        ("leaks", "system/leak", "{:.0%}"),
        ("malformed", "system/malformed", "{:.0%}"),
        ("tokens", "system/trace_tokens", "{:.0f}"),
    ),
    (
        ("staleness", "stream/staleness_max", "{:.0f}"),
        ("mismatch", "learner/mismatch_mean", "{:.4f} nats"),
        ("entropy", "learner/entropy", "{:.2f}"),
        ("clipped", "learner/clip_fraction", "{:.0%}"),
    ),
    (
        ("step", "time/step_s", "{:.1f} s"),
        ("of it", r"time/(?!step_s).*", "{:.0%}"),
        ("tokens/s", "engine/tokens_per_s", "{:,.0f}"),
        ("idle", r"pools/.*/idle", "{:.0%}"),
    ),
    (
        ("members", r"pools/.*/members", "{:.0f}"),
        (LOST, r"faults/(?:nodes|.*/(?:died|unanswered|failed|lost))", "{:.0f}"),
        (RESTARTED, r"(?:pools/.*|faults/learner)/restarts", "{:.0f}"),
        ("memory", r"nodes/.*/memory_percent", "{:.0f}%"),
        ("gradient", "learner/grad_norm", "{:.2f}"),
    ),
)
#: Lines of an example's reasoning.
EXAMPLE_LINES = 4


def question_lines(metrics: Mapping[str, float]) -> list[str]:
    """One line for each question with what is measured; faults that did not happen are left out."""
    width = max(len(question.title) for question in QUESTIONS)
    return [
        f"{question.title:<{width}}  " + "  ".join(part for field in fields if (part := _field(*field, metrics)))
        for question, fields in zip(QUESTIONS, FIELDS, strict=True)
    ]


def example_lines(record: Mapping[str, Any], width: int) -> list[str]:
    """A record of ``trajectories.jsonl`` in few lines: the problem, the trace, and what came of it."""
    outcomes = [verdict["outcome"] for verdict in record["verdicts"]]
    rubric = record["rubric"]
    figures = {
        "reward": record["reward"],
        "uplift": record["uplift"],
        "rubric": None if rubric is None else rubric["score"],
    }
    shown = "  ".join(f"{name} {value:+.2f}" for name, value in figures.items() if value is not None)
    reasoning = printable(record["reasoning"] or record["text"])
    cut = [reasoning[start : start + width] for start in range(0, len(reasoning), width)]
    more = "…" if len(cut) > EXAMPLE_LINES else ""
    lines = cut[:EXAMPLE_LINES]
    if more:
        lines[-1] = lines[-1][: width - 1] + more
    return [
        f"step {record['step']}, group {record['group']}: {printable(record['statement'])}",
        *(f"  {line}" for line in lines),
        f"  {shown}  {', '.join(outcomes)}".rstrip(),
    ]


def printable(text: str) -> str:
    """The text on one line, without anything that a terminal would obey."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


class Screen:
    """What is shown now. Rich draws it.

    Attributes:
        metrics: the newest value of each.
        checkpoint: the newest one's name; empty: none yet.
        example: a record of ``trajectories.jsonl``.
    """

    def __init__(self, progress: RenderableType, width: int) -> None:
        self.metrics: dict[str, float] = {}
        self.checkpoint = ""
        self.example: Mapping[str, Any] | None = None
        self._progress = progress
        self._width = width

    def __rich__(self) -> Group:
        lines = question_lines(self.metrics) if self.metrics else []
        if self.checkpoint:
            lines.append(f"last checkpoint: {self.checkpoint}")
        if self.example is not None:
            lines += ["", *example_lines(self.example, max(20, self._width - 4))]
        return Group(self._progress, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _field(label: str, metric: str, form: str, metrics: Mapping[str, float]) -> str:
    """A label and the values of its metric; several, by what tells them apart, where the metric is a pattern."""
    if metric in metrics:
        return f"{label} {form.format(metrics[metric])}"
    found = {name: metrics[name] for name in sorted(metrics) if re.fullmatch(metric, name)}
    if label in (LOST, RESTARTED):
        found = {name: value for name, value in found.items() if value}
    values = " ".join(f"{_of(name)} {form.format(value)}" for name, value in found.items())
    return f"{label} {values}" if values else ""


def _of(name: str) -> str:
    """The task, pool, node or phase that a metric is of."""
    _, *between, last = name.split("/")
    return "/".join(between).replace("reasoning_rm", "RM") or last
