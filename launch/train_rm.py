"""Trains the reasoning reward model: ``python -m launch.train_rm model=DIR groups=FILE.jsonl output=DIR``.

Every field is described in ``conf/train_rm.yaml``. Ends with a table of its quality on problems that were held out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.reasoning_rm.settings import TrainRmConfig, check_training

if TYPE_CHECKING:
    from tracelift_ray.reasoning_rm.training import TrainingResult


@entry_point("train_rm")
def main(cfg: DictConfig) -> None:
    """The command: configuration first, so that a wrong value answers before anything heavy is imported."""
    config = to_dataclass(TrainRmConfig, cfg)
    check_training(config)

    from transformers.utils import logging

    from tracelift_ray.reasoning_rm.training import train

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it lists the language-model head as unexpected, which a backbone may well have
    result = train(config, say=lambda line: print(line, flush=True))
    print_result(result, config.output)


def print_result(result: TrainingResult, output: str) -> None:
    """A table of the held-out metrics beside those of a model that reads nothing, and where the model is."""
    from rich.console import Console
    from rich.table import Table

    heldout, reference = result.heldout, result.heldout.reference
    table = Table(title=f"held out: {heldout.groups} groups, {heldout.traces} traces")
    for column in ("measure", "model", "reads nothing"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    table.add_row("pair accuracy", f"{heldout.pair_accuracy:.3f}", f"{reference.pair_accuracy:.3f}")
    table.add_row("group accuracy", f"{heldout.group_accuracy:.3f}", f"{reference.group_accuracy:.3f}")
    table.add_row("mean margin of q", f"{heldout.mean_margin:+.3f}", "+0.000")
    table.add_row("total, mean error", f"{heldout.total_mae:.3f}", f"{reference.total_mae:.3f}", end_section=True)
    for name, share in heldout.dimension_accuracy.items():
        table.add_row(f"label of {name}", f"{share:.3f}", f"{reference.dimension_accuracy[name]:.3f}")
    table.add_section()
    for kind, (share, pairs) in heldout.kind_accuracy.items():
        table.add_row(f"pairs against {kind} ({pairs})", f"{share:.3f}", f"{reference.pair_accuracy:.3f}")
    console = Console()
    console.print(table)
    console.print(f"{result.steps} steps in {result.seconds:.0f} s; the model is in {output}", soft_wrap=True)


if __name__ == "__main__":
    main()
