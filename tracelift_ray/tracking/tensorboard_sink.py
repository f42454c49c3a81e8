"""TensorBoard: the same metrics as W&B's, in files of the run directory, for clusters without a way out.

``tensorboard --logdir RUN/tensorboard`` reads them; its custom scalars put the curves that matter under the five
questions of ``SECTIONS``. It promises that nothing about it stops a run, and that after a resume every step is shown
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracelift_ray.config.errors import first_line

#: The questions that a person asks a run, in order, and the curves that answer them: a chart's name and its metrics.
SECTIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "1 Is it learning?": {
        "held-out accuracy": (r"evaluation/.*/accuracy",),
        "reward": ("reward/mean", "reward/min", "reward/max"),
        "success with the trace and without": ("system/success", "system/baseline"),
        "groups with signal": ("reward/signal",),
    },
    "2 Is the reward honest?": {
        "uplift and rubric": ("system/uplift", "rubric/score"),
        "leaks and malformed traces": ("system/leak", "system/malformed"),
        "length in tokens": ("system/trace_tokens",),
        "validity in the demo world": (r"evaluation/.*/trace_validity",),
    },
    "3 Is it on-policy?": {
        "staleness in versions": ("stream/staleness_mean", "stream/staleness_max"),
        "engine and learner, nats": ("learner/mismatch_mean", "learner/mismatch_max", "weights/canary"),
        "entropy in nats": ("learner/entropy",),
        "clipped and masked tokens": ("learner/clip_fraction", "learner/truncated_fraction", "learner/masked_fraction"),
    },
    "4 Is it fast?": {
        "seconds a step": ("time/step_s",),
        "shares of a step": ("time/rollout", "time/update", "time/broadcast", "time/save"),
        "tokens a second": ("engine/tokens_per_s",),
        "queues": (r"pools/.*/queued",),
    },
    "5 Is it healthy?": {
        "members": (r"pools/.*/members",),
        "restarts and late calls": (r"pools/.*/restarts", r"pools/.*/late_calls"),
        "groups lost": ("stream/groups_failed", "stream/groups_dropped"),
        "gradient": ("learner/grad_norm", "learner/loss"),
    },
}


class TensorBoardSink:
    """One directory of event files; every method is harmless once writing has failed.

    Args:
        directory: where the files go.
        resume_step: the step that the run goes on from: what is shown of later ones is dropped. None: a new run.
        say: prints one line.
    """

    def __init__(self, directory: Path, resume_step: int | None, say: Callable[[str], None]) -> None:
        self._say = say
        self._writer: Any | None = None
        with self._stopped_by_failure():
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(
                str(directory),
                purge_step=None if resume_step is None else resume_step + 1,
                filename_suffix=f".from_{resume_step or 0}",  # files are named by the second
            )
            self._writer.add_custom_scalars(
                {
                    question: {chart: ["Multiline", list(metrics)] for chart, metrics in charts.items()}
                    for question, charts in SECTIONS.items()
                }
            )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of a step."""
        if self._writer is not None:
            with self._stopped_by_failure():
                for name, value in metrics.items():
                    self._writer.add_scalar(name, value, step)

    def log_distributions(self, step: int, values: Mapping[str, Sequence[float]]) -> None:
        """Histograms of a step."""
        if self._writer is not None:
            import numpy

            with self._stopped_by_failure():
                for name, some in values.items():
                    self._writer.add_histogram(name, numpy.asarray(some), step)

    def close(self) -> None:
        """Write what is not yet on disk; closing twice is harmless."""
        if self._writer is not None:
            with self._stopped_by_failure():
                self._writer.close()
            self._writer = None

    @contextmanager
    def _stopped_by_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a sink that fails, in whatever way, is left alone
            self._writer = None
            self._say(f"TensorBoard: stopped ({first_line(error)}); the run goes on without it, metrics.jsonl is whole")
