"""What a person sees while a run goes on: one line for each step, and below them a screen.

The screen stays at the bottom of a terminal; elsewhere (a file, a job log) only the lines are printed. It promises
never to fail a run: metrics that a step does not have are left out of its line. While it is up, what the process prints
on that terminal stands above it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tracelift_ray.tracking.alive import SILENT_S, TICK_S, clock_time
from tracelift_ray.tracking.screen import Screen

#: After so long without a line, progress is printed; with the tick of ``alive`` a line comes in ``SILENT_S``.
QUIET_S = SILENT_S - TICK_S
#: How often the screen is drawn a second, and seconds until it shows another trace.
REFRESH_HZ, EXAMPLE_S = 2.0, 20.0
#: What the line of a step shows: label, metric, format.
_STEP_FIELDS = (
    ("reward", "reward/mean", "{:+.3f}"),
    ("uplift", "system/uplift", "{:+.3f}"),
    ("accuracy", "system/success", "{:.3f}"),
    ("signal", "reward/signal", "{:.0%}"),
    ("tokens/s", "engine/tokens_per_s", "{:,.0f}"),
    ("staleness", "stream/staleness_max", "{:.0f}"),
)
#: The same for one task of an evaluation; names follow ``evaluation/{task}/``.
_EVALUATION_FIELDS = (
    ("accuracy", "accuracy", "{:.3f}"),
    ("without trace", "baseline", "{:.3f}"),
    ("uplift", "uplift", "{:+.3f}"),
    ("RM score", "rm_score", "{:.3f}"),
    ("trace validity", "trace_validity", "{:.3f}"),
)


def _fields(fields: tuple[tuple[str, str, str], ...], metrics: Mapping[str, float], prefix: str = "") -> str:
    shown = (
        f"{label} {form.format(metrics[prefix + name])}" for label, name, form in fields if prefix + name in metrics
    )
    return "  ".join(shown)


def phase_shares(metrics: Mapping[str, float]) -> str:
    """The phases of a step by their share of its wall time, largest first, such as ``rollout 71% update 24%``."""
    shares = {n.removeprefix("time/"): v for n, v in metrics.items() if n.startswith("time/") and n != "time/step_s"}
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return " ".join(f"{name} {share:.0%}" for name, share in ordered if share >= 0.005)


def step_line(step: int, total: int, metrics: Mapping[str, float]) -> str:
    """One line for a training step."""
    parts = [f"step {step:>{len(str(total))}}/{total}", _fields(_STEP_FIELDS, metrics)]
    if "time/step_s" in metrics:
        parts.append(f"{metrics['time/step_s']:.1f} s {phase_shares(metrics)}".rstrip())
    return "  ".join(part for part in parts if part)


def evaluation_lines(step: int, metrics: Mapping[str, float]) -> list[str]:
    """One line for each task of an evaluation."""
    tasks = sorted({name.split("/")[1] for name in metrics if name.startswith("evaluation/") and name.count("/") == 2})
    return [
        f"evaluation after step {step}, {task}:  {_fields(_EVALUATION_FIELDS, metrics, f'evaluation/{task}/')}"
        for task in tasks
    ]


class ConsoleReporter:
    """Prints a run's progress.

    Args:
        total_steps: where the bar ends.
        done_steps: where it starts, in a resumed run.
        console: where to print.
    """

    def __init__(self, total_steps: int, done_steps: int, console: Console) -> None:
        self._console = console
        self._total = total_steps
        self._said = time.monotonic()
        self._example_at = -EXAMPLE_S
        self._first: tuple[int, float] | None = None  # the first step of this start, and when it ended
        self._progress: Progress | None = None
        self._screen: Screen | None = None
        if self._console.is_terminal and not self._console.quiet:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
                auto_refresh=False,
            )
            self._bar = self._progress.add_task("training", total=total_steps, completed=done_steps)
            self._screen = Screen(self._progress, self._console.width)
            self._live = Live(
                self._screen,
                console=self._console,
                refresh_per_second=REFRESH_HZ,
                redirect_stdout=self._console.file is sys.stdout,
                redirect_stderr=sys.stderr.isatty(),  # a file gets its warnings all the same
            )
            self._live.start()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Print the line of a step and move the bar."""
        line = step_line(step, self._total, metrics)
        if self._progress is None:
            line += f"  ETA {self._eta(step)}"
        else:
            self._progress.update(self._bar, completed=step)
        self._show(metrics)
        self.message(line)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Print the lines of an evaluation."""
        self._show(metrics)
        for line in evaluation_lines(step, metrics):
            self.message(line)

    def checkpoint(self, name: str) -> None:
        """The newest checkpoint, for the screen."""
        if self._screen is not None:
            self._screen.checkpoint = name

    def example(self, records: Sequence[Mapping[str, Any]]) -> None:
        """One of a step's traces, now and then, for the screen."""
        if self._screen is not None and time.monotonic() - self._example_at >= EXAMPLE_S:
            chosen = next((record for record in records if record["reasoning"]), None)
            if chosen is not None:
                self._screen.example, self._example_at = chosen, time.monotonic()

    def message(self, text: str) -> None:
        """Print one line as it is, above the bar where there is one. A log on a full disk ends no run."""
        self._said = time.monotonic()
        with contextlib.suppress(OSError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, text: str) -> None:
        """Say what goes on: beside the bar, or as a line where nothing was printed for a while."""
        if self._progress is not None:
            self._progress.update(self._bar, description=text)
        elif time.monotonic() - self._said >= QUIET_S:
            self.message(text)

    def close(self) -> None:
        """Take the screen down, which leaves its last state; closing twice is harmless."""
        if self._screen is not None:
            self._live.stop()

    def _show(self, metrics: Mapping[str, float]) -> None:
        if self._screen is not None:
            self._screen.metrics = {**self._screen.metrics, **metrics}  # another one: a thread draws it

    def _eta(self, step: int) -> str:
        """Time to the last step as h:mm:ss, at the pace since the first step of this start ended."""
        now = time.monotonic()
        if self._first is None or step <= self._first[0]:
            self._first = (step, now)
            return "?"
        pace = (now - self._first[1]) / (step - self._first[0])
        seconds = pace * max(self._total - step, 0)
        return clock_time(seconds)
