"""Trains the reasoning reward model: ``python -m launch.train_rm model=DIR groups=FILE.jsonl output=DIR``.

Every field is described in ``conf/train_rm.yaml``. Ends with a table of its quality on problems that were held out.
The same command goes on with a run that was interrupted.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.paths import check_file, check_writable
from tracelift_ray.planning.checkpoints import check_checkpoint
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig, check_training

if TYPE_CHECKING:
    from rich.table import Table

    from tracelift_ray.reasoning_rm.training.finish import TrainingResult
    from tracelift_ray.reasoning_rm.training.metrics import RmMetrics


@entry_point("train_rm")
def main(cfg: DictConfig) -> None:
    """The command: configuration first, so that a wrong value answers before anything heavy is imported."""
    config = to_dataclass(TrainRmConfig, cfg)
    check_checkpoint("model", config.model)
    check_file("groups", config.groups)
    check_file("heldout_groups", config.heldout_groups)
    check_training(config)
    check_writable("output", config.output)

    _quieten(config.device)
    from tracelift_ray.reasoning_rm.training.trainer import train

    print_result(train(config), config.output)


def _quieten(device: str) -> None:
    """Keep what libraries say of themselves out of the progress lines; call it before they are imported."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it found no other
    logging.getLogger().setLevel(logging.WARNING)
    from huggingface_hub.utils import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    # It lists the language-model head as unexpected, which a backbone may well have.
    transformers_logging.set_verbosity_error()


def print_result(result: TrainingResult, output: str) -> None:
    """A table of the held-out metrics beside those of a model that reads nothing, and where the model is."""
    from rich.console import Console

    console = Console()
    console.print(metrics_table(result.heldout))
    bias = result.heldout.length_bias
    console.print(
        f"calibration error of the total {result.heldout.calibration.error:.3f}; correlation with length, within "
        f"groups: q {_signed(bias.score_within)}, the judge's total {_signed(bias.judged_within)}",
        soft_wrap=True,
    )
    console.print(
        f"{result.steps} steps in {result.seconds:.0f} s, weights of step {result.best_step}; the model is in "
        f"{output}, with metrics.json and rm.png",
        soft_wrap=True,
    )


def metrics_table(heldout: RmMetrics) -> Table:
    """The held-out metrics, a row for each measure."""
    from rich.table import Table

    reference = heldout.reference
    table = Table(title=f"held out: {heldout.groups} groups, {heldout.traces} traces")
    for column in ("measure", "model", "reads nothing"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    table.add_row("pair accuracy", f"{heldout.pair_accuracy:.3f}", f"{reference.pair_accuracy:.3f}")
    table.add_row("group accuracy", f"{heldout.group_accuracy:.3f}", f"{reference.group_accuracy:.3f}")
    table.add_row("mean margin of q", f"{heldout.mean_margin:+.3f}", "+0.000")
    table.add_row("total, mean error", f"{heldout.total_mae:.3f}", f"{reference.total_mae:.3f}")
    table.add_row("total, root mean square error", f"{heldout.total_rmse:.3f}", f"{reference.total_rmse:.3f}")
    table.add_section()
    for name, share in heldout.dimension_accuracy.items():
        table.add_row(f"label of {name}", f"{share:.3f}", f"{reference.dimension_accuracy[name]:.3f}")
    table.add_section()
    for kind, (share, pairs) in heldout.kind_accuracy.items():
        table.add_row(f"pairs against {kind} ({pairs})", f"{share:.3f}", f"{reference.pair_accuracy:.3f}")
    return table


def _signed(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2f}"


if __name__ == "__main__":
    main()
