"""Joining the learner's ranks into one DeepSpeed process group, on CPUs over gloo or on GPUs over NCCL.

Promises: joining ends within its deadline, with an error that says which rank waited for whom; nothing is compiled on
the way.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tracelift_ray.config.schema import LearnerConfig
from tracelift_ray.types import InfrastructureError


@dataclass(frozen=True)
class RankPlace:
    """Where one learner process stands: its rank of ``world_size``, and the address where rank 0 listens.

    ``local_rank`` is the CUDA device index inside this process; 0 where each process sees one GPU only.
    """

    rank: int
    world_size: int
    master_address: str
    master_port: int
    local_rank: int = 0


def free_port() -> int:
    """A TCP port that was free on this machine a moment ago; ask on the machine of rank 0."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


def join(place: RankPlace, config: LearnerConfig) -> None:
    """Set this process up as one rank and join the group. Blocks until all ranks came, at most ``startup_s`` seconds.

    Collectives afterwards give up after ``update_deadline_s``.

    Raises:
        InfrastructureError: the others did not come in time.
    """
    os.environ.update(
        RANK=str(place.rank),
        WORLD_SIZE=str(place.world_size),
        LOCAL_RANK=str(place.local_rank),
        MASTER_ADDR=place.master_address,
        MASTER_PORT=str(place.master_port),
    )
    if config.collective == "gloo":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import torch.distributed as dist

    _quieten()
    # DeepSpeed would compile its own shared-memory collectives for CPUs at first use, which takes a C++ compiler and
    # about a minute; gloo does the same work.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if config.collective == "nccl":
        import torch

        torch.cuda.set_device(place.local_rank)
    try:
        dist.init_process_group(
            config.collective,
            rank=place.rank,
            world_size=place.world_size,
            timeout=timedelta(seconds=config.startup_s),
        )
    except dist.DistError as error:
        raise InfrastructureError(
            "learner",
            f"rank {place.rank} waited {config.startup_s:g} s for {place.world_size} ranks at "
            f"{place.master_address}:{place.master_port} ({_first_line(error)}); check that all {place.world_size} "
            "started and that the port is reachable from their machines, or raise learner.startup_s",
        ) from error
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=config.update_deadline_s))
    deepspeed.init_distributed(dist_backend=config.collective, verbose=False, dist_init_required=False)


def deepspeed_config(config: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's own configuration: one micro-batch per call, the accumulation boundary set by hand."""
    gpu = config.collective == "nccl"
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # ZeRO clips by the norm that it computes; without ZeRO the learner clips itself, to know the norm.
        "gradient_clipping": config.grad_clip if clipped_by_deepspeed(config) else 0.0,
        "bf16": {"enabled": config.dtype == "bfloat16"},
        # Micro-batches add up in float32, so that their number does not show in bfloat16 runs.
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "stage": zero_stage(config),
            "overlap_comm": gpu,
            "reduce_bucket_size": 50_000_000,
            "allgather_bucket_size": 50_000_000,
        },
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    }


def zero_stage(config: LearnerConfig) -> int:
    """The stage that DeepSpeed is told. In bfloat16 without ZeRO it would keep no float32 master weights, and small
    updates would round to nothing; stage 1 keeps them and computes the same."""
    return max(config.zero_stage, 1) if config.dtype == "bfloat16" else config.zero_stage


def clipped_by_deepspeed(config: LearnerConfig) -> bool:
    """Whether DeepSpeed measures and clips the gradient, as it does with ZeRO."""
    return zero_stage(config) > 0


def _quieten() -> None:
    """Keep DeepSpeed's and transformers' chatter out of a run's console; their warnings stay."""
    from transformers.utils import logging as transformers_logging

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.distributed\..* is deprecated.*")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
