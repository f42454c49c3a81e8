"""What the parts of the bench measure: figures with their goals, to the console and as JSON.

Every part prints its figures; with ``--json FILE`` it also writes them there, which is how ``benchmarks.all`` has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured, unique in the bench.
        unit: ``ratio``, ``s``, ``tokens/s`` and so on.
        better: which way is an improvement.
        goal: the bound that it should keep; None: it has none.
        spread: lowest and highest of the rounds, and how many there were.
        note: what is needed to read it.
        peer: what the best peer publishes for the same thing, with its source; empty: see ``benchmarks.peers``.
    """

    name: str
    value: float
    unit: str
    better: Better
    goal: float | None = None
    spread: str = ""
    note: str = ""
    peer: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the goal is kept; None without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def slower_than(self, former: Figure) -> float:
        """How much worse it is than ``former``, as a share of it; below 0 where it is better."""
        if former.value == 0:
            return 0.0
        change = self.value / former.value - 1
        return change if self.better == "lower" else -change

    def __str__(self) -> str:
        goal = "" if self.goal is None else f", goal {bound(self)}{'' if self.kept else ': missed'}"
        return f"{self.name}: {amount(self.value)} {self.unit}{f' ({self.spread})' if self.spread else ''}{goal}"


def of(fields: Mapping[str, Any]) -> Figure:
    """A figure from its JSON."""
    return Figure(**fields)


def median(
    name: str, values: Sequence[float], unit: str, better: Better, *, goal: float | None = None, note: str = ""
) -> Figure:
    """The median of rounds."""
    spread = f"{amount(min(values))} to {amount(max(values))} in {len(values)} rounds"
    return Figure(name, statistics.median(values), unit, better, goal, spread, note)


def amount(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def bound(figure: Figure) -> str:
    """The goal with its sign."""
    return "" if figure.goal is None else f"{'≤' if figure.better == 'lower' else '≥'} {amount(figure.goal)}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """A part's command line; ``deliver`` reads what it adds."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="also write the figures here")
    return made


def deliver(options: argparse.Namespace, figures: Sequence[Figure]) -> None:
    """Print figures, and write them where asked to."""
    for figure in figures:
        print(figure, flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
