"""Builds TraceLift-Groups from problems: ``python -m launch.build_groups source=FILE.jsonl out=DIR``.

Every field is described in ``conf/build_groups.yaml``. A build that was interrupted goes on with the same command.
"""

from __future__ import annotations

import asyncio

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.paths import check_writable
from tracelift_ray.data.readings import check_source_file
from tracelift_ray.dataset.settings import BuildGroupsConfig, check_build


@entry_point("build_groups")
def main(cfg: DictConfig) -> None:
    """The command: configuration first, so that a wrong value answers before anything is read."""
    config = to_dataclass(BuildGroupsConfig, cfg)
    check_build(config)
    check_source_file("source", config.source)
    check_writable("out", config.out)

    from tracelift_ray.dataset.build import build

    outcome = asyncio.run(build(config, say=lambda line: print(line, flush=True)))
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in outcome.left_out_by_reason())
    print(
        f"{len(outcome.train):,} groups in {config.out}/train.jsonl, {len(outcome.heldout):,} held out; "
        f"the data card is {config.out}/README.md; problems without a group: {left_out or 'none'}"
    )


if __name__ == "__main__":
    main()
