"""Leaves out problems that the executor alone always or never solves, and looks at them again later
(``data.curriculum``).

What counts are the samples without a trace that the groups draw anyway. Which problems an epoch has is decided when it
begins, by the batches that are done; so where batches follow from serials, so do the problems drawn, and a run that
goes on from a checkpoint draws the same ones. Every problem is in an epoch or left out of it for one of two reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tracelift_ray.config.schema import CurriculumConfig
from tracelift_ray.types import Baseline

Reason = Literal["too_easy", "too_hard"]


class Curriculum:
    """Success without a trace by problem, and the problems left out of the present epoch.

    Args:
        grows: whether the baseline of each group is of samples of its own, as under ``reward.baseline: per_group``;
            else it holds all samples of the problem so far.
    """

    def __init__(self, config: CurriculumConfig, *, grows: bool) -> None:
        self.config = config
        self.grows = grows
        self._measured: dict[str, tuple[int, int]] = {}  # successes and samples
        self._left_out: dict[str, tuple[int, Reason]] = {}  # since which epoch
        self._again: set[str] = set()  # were left out, and are drawn until they are measured again

    def measured(self, id: str, baseline: Baseline) -> None:
        """A group of a batch that is done had this baseline."""
        self._again.discard(id)
        successes, samples = self._measured.get(id, (0, 0))
        if self.grows:
            self._measured[id] = successes + baseline.successes, samples + baseline.samples
        elif baseline.samples > samples:
            self._measured[id] = baseline.successes, baseline.samples

    def begin(self, epoch: int, ids: Sequence[str]) -> None:
        """Decide which problems ``epoch`` leaves out; where that would be all of them, it leaves out none."""
        before, self._left_out = self._left_out, {}
        for id in ids:
            reason = self._reason(id)
            if reason is None or id in self._again:
                continue
            since, _ = before.get(id, (epoch, reason))
            if epoch - since < self.config.revisit_after:
                self._left_out[id] = since, reason
            else:
                self._again.add(id)
        if len(self._left_out) == len(ids):
            self._again.update(self._left_out)
            self._left_out.clear()

    def left(self, ids: Sequence[str]) -> list[str]:
        """Those that the present epoch does not leave out, in their order."""
        return [id for id in ids if id not in self._left_out]

    def metrics(self) -> dict[str, float]:
        """How many problems the present epoch leaves out, by reason, and how many it has yet to look at again."""
        reasons = Counter(reason for _, reason in self._left_out.values())
        too_easy, too_hard = float(reasons["too_easy"]), float(reasons["too_hard"])
        return {"data/too_easy": too_easy, "data/too_hard": too_hard, "data/again": float(len(self._again))}

    def state(self) -> dict[str, Any]:
        """What was measured and is left out, as JSON values."""
        return {"measured": self._measured.copy(), "left_out": self._left_out.copy(), "again": sorted(self._again)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self._measured = {id: (successes, samples) for id, (successes, samples) in state["measured"].items()}
        self._left_out = {id: (since, reason) for id, (since, reason) in state["left_out"].items()}
        self._again = set(state["again"])

    def _reason(self, id: str) -> Reason | None:
        """Why a problem is of no use now, as far as it was measured."""
        easy, hard = self.config.easy_threshold, self.config.hard_threshold
        successes, samples = self._measured.get(id, (0, 0))
        if samples < self.config.min_samples:
            return None
        if easy is not None and successes >= easy * samples:
            return "too_easy"
        return "too_hard" if hard is not None and successes <= hard * samples else None
