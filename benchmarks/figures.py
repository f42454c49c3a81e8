"""What the parts of the bench measure: figures with their goals, to the console and as JSON.

Every part prints its figures; with ``--json FILE`` it also writes them there, which is how ``benchmarks.all`` has them.
Parts that measure in rounds leave out those for which ``--within`` seconds are too few.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

#: When this process began, but for what it imported first.
BEGAN = monotonic()
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
    return Figure(name, statistics.median(values), unit, better, goal, spread(values), note)


def spread(values: Sequence[float]) -> str:
    """Lowest and highest of the rounds, and how many there were; that there was one."""
    if len(values) == 1:
        return "1 round"
    return f"{amount(min(values))} to {amount(max(values))} in {len(values)} rounds"


def amount(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def bound(figure: Figure) -> str:
    """The goal with its sign."""
    return "" if figure.goal is None else f"{'≤' if figure.better == 'lower' else '≥'} {amount(figure.goal)}"


def parser(description: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """A part's command line; ``deliver`` and, where it measures in so many ``rounds``, ``turns`` read what it adds."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="also write the figures here")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds)
        made.add_argument("--within", type=float, default=math.inf, metavar="SECONDS", help="for all rounds but 1")
    return made


def turns(options: argparse.Namespace, first: int = 0) -> Iterator[int]:
    """The numbers of the rounds to measure, ``first`` to ``--rounds``; 0 is one to warm up.

    Round 1 is always among them. A later one is left out where, as long as the longest before, it would end more than
    ``--within`` seconds after this process began.
    """
    longest = 0.0
    for number in range(first, options.rounds + 1):
        began = monotonic()
        if number > 1 and began - BEGAN + longest > options.within:
            print(f"no round after {number - 1}: {options.within:.0f} s are too few (--within)", flush=True)
            return
        yield number
        longest = max(longest, monotonic() - began)


def deliver(options: argparse.Namespace, figures: Sequence[Figure]) -> None:
    """Print figures, and write them where asked to."""
    for figure in figures:
        print(figure, flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
