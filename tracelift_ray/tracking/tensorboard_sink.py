"""TensorBoard: the same metrics as W&B's, in files of the run directory, for clusters without a way out.

``tensorboard --logdir RUN/tensorboard`` reads them; its custom scalars put the curves that matter under the five
questions of ``questions.py``. It promises that nothing about it stops a run, and that after a resume every step is
shown once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tracelift_ray.config.errors import first_line
from tracelift_ray.tracking.questions import QUESTIONS


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
            self._writer = _summary_writer(
                str(directory),
                purge_step=None if resume_step is None else resume_step + 1,
                filename_suffix=f".from_{resume_step or 0}",  # files are named by the second
            )
            self._writer.add_custom_scalars(
                {
                    f"{number} {question.title}": {
                        chart: ["Multiline", list(metrics)] for chart, metrics in question.charts.items()
                    }
                    for number, question in enumerate(QUESTIONS, start=1)
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


def _summary_writer(directory: str, **settings: Any) -> Any:
    """tensorboardX's writer. Where it finds torch it imports it, for seconds, and is never given a tensor."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = cast(Any, None)  # its import fails, as where torch is not installed
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hidden:
            del sys.modules["torch"]
    return SummaryWriter(directory, **settings)
