"""How much went through the planner-executor system: prompts, tokens, verifier runs, scored traces; per second.

All of it counts: groups that are dropped later, baselines and evaluations, too. A reading covers the time since the one
before, or since the first count.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from tracelift_ray.types import Completion

Role = Literal["planner", "executor"]
_NAMES: dict[Role, tuple[str, str]] = {
    "planner": ("planner_prompts", "planner_tokens"),
    "executor": ("executor_prompts", "executor_tokens"),
}


class Throughput:
    """Counts by name, read as ``rates/NAME_per_s``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._since: float | None = None

    def generated(self, role: Role, completions: Sequence[Completion]) -> None:
        """``role`` answered one prompt."""
        prompts, tokens = _NAMES[role]
        written = 0
        for each in completions:
            written += len(each.token_ids)
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
        self._counts[prompts] += 1
        self._counts[tokens] += written

    def count(self, name: str, amount: int) -> None:
        """``amount`` more of ``name``."""
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
        self._counts[name] += amount

    def read(self) -> dict[str, float]:
        """Rates since the last reading; names that were never counted are absent."""
        now = asyncio.get_running_loop().time()
        seconds = 0.0 if self._since is None else now - self._since
        rates = {f"rates/{name}_per_s": count / seconds for name, count in self._counts.items()} if seconds > 0 else {}
        self._since, self._counts = now, Counter(dict.fromkeys(self._counts, 0))
        return rates
