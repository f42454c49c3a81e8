"""What the doctor found: a line for each thing that it looked at, and what to do where that is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "look", "MEND"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name in a word or two.
        level: ``ok``; ``look`` where runs may work less well or be smaller; ``MEND`` where they will fail.
        found: what is there.
        remedy: what to do; empty where it is ok.
    """

    what: str
    level: Level
    found: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """For the terminal."""
        head = f"{self.level:<5} {self.what:<14} {self.found}"
        return [head, f"{'':<20} -> {self.remedy}"] if self.remedy else [head]


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    mend, look = (sum(each.level == level for each in findings) for level in ("MEND", "look"))
    if not mend and not look:
        return "all is well"
    return f"{mend} to mend, {look} to look at"
