"""Merge adapters into their base model: ``python -m launch.merge base=DIR adapter=DIR out=DIR``.

The result is an ordinary Hugging Face directory, which every other command takes. Fields: ``conf/merge.yaml``.
"""

from __future__ import annotations

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.training.merge_settings import MergeConfig, check_merge


@entry_point("merge")
def main(cfg: DictConfig) -> None:
    """The command: files first, so that a wrong directory answers before anything heavy is imported."""
    config = to_dataclass(MergeConfig, cfg)
    check_merge(config)

    from transformers.utils import logging

    from tracelift_ray.training.merge import merge

    logging.disable_progress_bar()
    merge(config, say=lambda line: print(line, flush=True))
    print(f"the merged model is in {config.out}")


if __name__ == "__main__":
    main()
