"""Teaches a planner to write tagged traces: ``python -m launch.warm_start model=DIR examples=FILE.jsonl output=DIR``.

Every field is described in ``conf/warm_start.yaml``. Base models, and small ones, hardly ever close the tag; a few
minutes of supervised training on good traces or worked solutions come before reinforcement learning.
"""

from __future__ import annotations

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.data.readings import check_source_file
from tracelift_ray.planning.checkpoints import check_checkpoint, check_generates
from tracelift_ray.training.supervised_settings import WarmStartConfig, check_warm_start


@entry_point("warm_start")
def main(cfg: DictConfig) -> None:
    """The command: configuration first, so that a wrong value answers before anything heavy is imported."""
    config = to_dataclass(WarmStartConfig, cfg)
    check_checkpoint("model", config.model)
    check_generates("model", config.model)
    check_source_file("examples", config.examples)
    check_warm_start(config)

    from transformers.utils import logging

    from tracelift_ray.training.supervised import warm_start

    logging.disable_progress_bar()
    result = warm_start(config, say=lambda line: print(line, flush=True))
    first, last = result.losses[0], result.losses[-1]
    print(f"{len(result.losses)} steps in {result.seconds:.0f} s, loss {first:.3f} to {last:.3f}")
    print(f"the planner is in {config.output}")


if __name__ == "__main__":
    main()
