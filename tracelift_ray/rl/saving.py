"""Saves of a run: checkpoints to go on from, exports of the planner alone, which of them stay, and their upload.

Checkpoints lie in ``checkpoints/``, exports in ``exports/`` beside it, in the same layout but without the learner's
state. Promises: each is there whole or not at all; the newest checkpoint always stays, and nothing is removed while
its upload waits or runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tracelift_ray.config.schema import LearnerConfig
from tracelift_ray.rl.pools import LearnerGroup
from tracelift_ray.rl.uploads import Uploads
from tracelift_ray.training import checkpoint


class Saving:
    """Saves of the learner, under ``checkpoints`` and the directory ``exports`` beside it.

    ``faults`` counts failed uploads; ``say`` is given a line for each save.
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

    async def checkpoint(self, step: int, state: Mapping[str, Any], measured: Mapping[str, float]) -> None:
        """Write a checkpoint with ``state``.

        Args:
            measured: metrics of this very step, in which ``keep_best`` is looked up.
        """
        best = self.config.keep_best
        score = {best: measured[best]} if best in measured else {}
        with checkpoint.writing(self.checkpoints, step) as draft:
            await self.learner.save(str(draft.planner_dir), str(draft.learner_dir))
            saved = checkpoint.publish(draft, {**state, checkpoint.MEASURED: score})
        if best and not score:
            self.say(f"learner.keep_best={best} was not measured at step {step}, so {saved.path} is not compared by it")
        self.uploads.start(saved.path)
        checkpoint.prune(self.checkpoints, self.config.keep_checkpoints, best=best, spare=self.uploads.in_use)
        self.say(f"saved {saved.path}")

    async def export(self, step: int) -> None:
        """Write the planner alone."""
        with checkpoint.writing(self.exports, step, with_learner=False) as draft:
            await self.learner.save(str(draft.planner_dir), None)
            saved = checkpoint.publish(draft, {"step": step})
        self.uploads.start(saved.path)
        checkpoint.prune(self.exports, self.config.keep_exports, spare=self.uploads.in_use)
        self.say(f"exported {saved.path}")
