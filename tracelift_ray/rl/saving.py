"""Saves of a run: checkpoints to go on from, exports of the planner alone, which of them stay, and their upload.

Checkpoints lie in ``checkpoints/``, exports in ``exports/`` beside it, in the same layout but without the learner's
state. Between the checkpoints that ``save_every`` asks for, the last finished update is kept ready in one more as often
as ``ready_share`` of the time allows: a run that is ended at once goes on from there. The next checkpoint replaces it.
Promises: each is there whole or not at all; the newest checkpoint always stays, and nothing is removed while its upload
waits or runs. What only the disk is asked for is done in a thread: members are heard and groups are made meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tracelift_ray.config.schema import LearnerConfig
from tracelift_ray.rl.pools import LearnerGroup
from tracelift_ray.rl.uploads import Uploads
from tracelift_ray.training import checkpoint
from tracelift_ray.training.checkpoint import Checkpoint


class Saving:
    """Saves of the learner, under ``checkpoints`` and the directory ``exports`` beside it.

    ``faults`` counts failed uploads; ``say`` is given a line for each save.

    Attributes:
        newest: the newest checkpoint that was written here, whatever it was written for.
        describe: makes the files that are saved beside the planner's weights, by name, from the step.
        observe: is given the directory of each checkpoint that is there to stay for a while.
    """

    def __init__(
        self,
        config: LearnerConfig,
        learner: LearnerGroup,
        checkpoints: Path,
        faults: Counter[str],
        say: Callable[[str], None],
    ) -> None:
        self.config = config
        self.learner = learner
        self.checkpoints = checkpoints
        self.exports = checkpoints.with_name("exports")
        self.say = say
        self.uploads = Uploads(config.upload_command, config.upload_deadline_s, faults, say)
        self.newest: Checkpoint | None = None
        self.describe: Callable[[int], Mapping[str, str]] = lambda step: {}
        self.observe: Callable[[Path], None] = lambda saved: None
        self._ready: Checkpoint | None = None  # the newest that was kept ready
        self._ended, self._took_s = 0.0, 0.0  # when the last checkpoint was there, and how long it took

    async def checkpoint(self, step: int, state: Mapping[str, Any], measured: Mapping[str, float]) -> None:
        """Write a checkpoint with ``state``.

        Args:
            measured: metrics of this very step, in which ``keep_best`` is looked up.
        """
        best = self.config.keep_best
        score = {best: measured[best]} if best in measured else {}
        saved = await self._written(step, {**state, checkpoint.MEASURED: score})
        if best and not score:
            self.say(f"learner.keep_best={best} was not measured at step {step}, so {saved.path} is not compared by it")
        self._announce(saved)

    def may_keep_ready(self) -> bool:
        """Whether the time since the last checkpoint allows one more; not known before the first, which is allowed."""
        share, now = self.config.ready_share, asyncio.get_running_loop().time()
        return share > 0 and (now - self._ended) * share >= self._took_s

    async def keep_ready(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint with ``state`` that the next one replaces."""
        self._ready = await self._written(step, {**state, checkpoint.READY: True})

    def promote(self, step: int) -> bool:
        """Whether the update of ``step`` was kept ready; its checkpoint then is that of this step."""
        if self._ready is None or self._ready.step != step:
            return False
        self._announce(self._ready)
        return True

    async def _written(self, step: int, state: Mapping[str, Any]) -> Checkpoint:
        began = asyncio.get_running_loop().time()
        with checkpoint.writing(self.checkpoints, step) as draft:
            await self.learner.save(str(draft.planner_dir), str(draft.learner_dir))
            self._describe(draft)
            saved = self.newest = await asyncio.to_thread(checkpoint.publish, draft, state)
        keep, best = self.config.keep_checkpoints, self.config.keep_best
        spare = {*self.uploads.in_use, saved.path}
        await asyncio.to_thread(checkpoint.prune, self.checkpoints, keep, best=best, spare=spare)
        self._ended = asyncio.get_running_loop().time()
        self._took_s = self._ended - began
        return saved

    def _describe(self, draft: Checkpoint) -> None:
        for name, text in self.describe(draft.step).items():
            (draft.planner_dir / name).write_text(text, "utf-8")

    def _announce(self, saved: Checkpoint) -> None:
        self.uploads.start(saved.path)
        self.observe(saved.path)
        self.say(f"saved {saved.path}")

    async def export(self, step: int) -> None:
        """Write the planner alone."""
        with checkpoint.writing(self.exports, step, with_learner=False) as draft:
            await self.learner.save(str(draft.planner_dir), None)
            self._describe(draft)
            saved = await asyncio.to_thread(checkpoint.publish, draft, {"step": step})
        self.uploads.start(saved.path)
        spare, keep = self.uploads.in_use, self.config.keep_exports
        await asyncio.to_thread(checkpoint.prune, self.exports, keep, spare=spare)
        self.say(f"exported {saved.path}")
