"""The one optimisation engine under every trainer: DeepSpeed over ranks that join, accumulate, clip, step and save.

Promises: the gradient of a step is the sum of the losses of all pieces on all ranks, however a batch is cut; every rank
runs the same sequence of collectives; a rank that restores what it saved goes on as if it had not stopped.
A trainer brings the model, the optimizer and the loss. Methods that do not say otherwise are collectives: all ranks
call them, in the same order.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tracelift_ray.config.errors import first_line
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.training.checkpoint import CheckpointError, disk_errors
from tracelift_ray.training.generators import generator_states, restore_generators
from tracelift_ray.training.ranks import RankPlace, free_port

_TAG = "state"
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class EngineSettings:
    """How the ranks of one trainer work together.

    Attributes:
        owner: the group of settings that these come from, for messages: ``learner``.
        collective: ``gloo`` on CPUs, ``nccl`` on GPUs.
        zero_stage: 0 to 3.
        dtype: of weights and computation, ``float32`` or ``bfloat16`` (with float32 master weights).
        grad_clip: largest norm of the gradient; 0: not clipped.
        startup_s, deadline_s: seconds to join, and for any one collective afterwards.
        autocast: compute in bfloat16 with float32 weights and gradients.
        offload_optimizer, offload_parameters: keep the optimizer's state (stage 1 or more), and the weights (stage 3),
            in the memory of the machine instead of the GPU's.
    """

    owner: str
    collective: str
    zero_stage: int
    dtype: str
    grad_clip: float
    startup_s: float
    deadline_s: float
    autocast: bool = False
    offload_optimizer: bool = False
    offload_parameters: bool = False

    @property
    def stage(self) -> int:
        """The stage that DeepSpeed runs. In bfloat16 without ZeRO it would keep no float32 master weights, and small
        updates would round to nothing; stage 1 keeps them and computes the same."""
        return max(self.zero_stage, 1) if self.dtype == "bfloat16" else self.zero_stage

    def deepspeed(self) -> dict[str, Any]:
        """DeepSpeed's configuration: one micro-batch per call, the accumulation boundary set by hand."""
        autocast = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            # ZeRO clips by the norm that it computes; without ZeRO the engine clips itself, to know the norm.
            "gradient_clipping": self.grad_clip if self.stage > 0 else 0.0,
            "bf16": {"enabled": self.dtype == "bfloat16"},
            # Micro-batches add up in float32, so that their number does not show in bfloat16 runs.
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": {
                "stage": self.stage,
                "overlap_comm": self.collective == "nccl",
                "reduce_bucket_size": 50_000_000,
                "allgather_bucket_size": 50_000_000,
                **self._offload(),
            },
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": None,
            **({"torch_autocast": autocast} if self.autocast else {}),
        }

    def _offload(self) -> dict[str, Any]:
        """What DeepSpeed keeps in the machine's memory; pinned where a GPU reads it."""
        cpu = {"device": "cpu", "pin_memory": self.collective == "nccl"}
        optimizer = {"offload_optimizer": cpu} if self.offload_optimizer else {}
        return optimizer | ({"offload_param": cpu} if self.offload_parameters else {})


class TrainingEngine:
    """One rank's share of a model in training.

    Attributes:
        device: where tensors for the model belong.
    """

    def __init__(self, settings: EngineSettings, place: RankPlace) -> None:
        self.place = place
        self.device = torch.device("cuda", place.local_rank) if settings.collective == "nccl" else torch.device("cpu")
        self._settings = settings
        self._wrapped: Any = None
        self._peaks: list[float] = []
        self._joined = False

    def join(self) -> None:
        """Join the other ranks, unless this process has joined its group before (``engine.join``).

        Raises:
            InfrastructureError: they did not come within ``startup_s``.
        """
        if not dist.is_initialized():
            join(self.place, self._settings)
            self._joined = True

    @contextlib.contextmanager
    def dividing(self) -> Iterator[None]:
        """Under ZeRO-3, transformers divides the weights that it loads here among the ranks."""
        keep_alive = None
        if self._settings.stage == 3:
            from transformers.integrations import HfDeepSpeedConfig

            keep_alive = HfDeepSpeedConfig(self._settings.deepspeed())
        yield
        del keep_alive

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Begin to train a model; the learning rates of the optimizer's groups are the peaks of the schedule."""
        import deepspeed

        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._wrapped = deepspeed.initialize(
            model=model, optimizer=optimizer, config=self._settings.deepspeed(), dist_init_required=False
        )[0]
        self._wrapped.train()

    def freeze(self, model: nn.Module) -> nn.Module:
        """A model for forward passes alone, on this device; divided among the ranks where the trained one is."""
        model.requires_grad_(False).eval()
        if self._settings.stage < 3:
            return model.to(self.device)
        import deepspeed

        config = {**self._settings.deepspeed(), "gradient_clipping": 0.0}
        wrapped = deepspeed.initialize(model=model, config=config, dist_init_required=False)[0]
        wrapped.eval()  # returns nothing, unlike a module's
        return wrapped

    @property
    def model(self) -> Any:
        """The trained model, for forward passes."""
        return self._wrapped

    @property
    def module(self) -> Any:
        """The trained model without DeepSpeed around it, for its parameters and configuration."""
        return self._wrapped.module

    def accumulate(self, pieces: Sequence[Piece], loss: Callable[[Piece], Tensor]) -> None:
        """Add up the gradient of a batch: that of the sum of ``loss`` over the pieces of all ranks.

        Args:
            pieces: as many on every rank, at least one.
            loss: makes a piece's share of the batch's loss; with ZeRO it has to go through ``model``.
        """
        for number, piece in enumerate(pieces):
            self._wrapped.set_gradient_accumulation_boundary(number == len(pieces) - 1)
            # DeepSpeed averages gradients over ranks; the loss is a sum over them.
            self._wrapped.backward(loss(piece) * self.place.world_size)

    def step(self, rate: Callable[[float], float]) -> float:
        """Clip, step and clear; returns the norm of the gradient before clipping.

        Args:
            rate: the learning rate of this step for a given peak.
        """
        for group, peak in zip(self._wrapped.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = rate(peak)
        norm: Any = None
        if self._settings.stage == 0:
            trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
            norm = nn.utils.clip_grad_norm_(trained, self._settings.grad_clip or float("inf"))
        self._wrapped.step()
        return float(self._wrapped.get_global_grad_norm() if norm is None else norm)

    def save(self, directory: Path) -> None:
        """Save what ``restore`` needs: trained weights, optimizer, and every rank's generators.

        Raises:
            CheckpointError: the disk is full.
        """
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._wrapped.save_checkpoint(str(directory), tag=_TAG, exclude_frozen_parameters=True)
            torch.save(generator_states(), directory / f"rng-{self.place.rank}.pt")
        dist.barrier()

    def restore(self, directory: Path) -> None:
        """Go on from ``save``, on as many ranks and in the same ZeRO stage and dtype.

        Raises:
            CheckpointError: this rank's state is missing.
        """
        path = directory / f"rng-{self.place.rank}.pt"
        try:
            generators = torch.load(path, weights_only=False)  # our own file
        except OSError as error:
            raise CheckpointError(f"{directory} lacks the state of rank {self.place.rank} ({error})") from error
        whole = all(parameter.requires_grad for parameter in self.module.parameters())
        self._wrapped.load_checkpoint(
            str(directory), tag=_TAG, load_module_strict=whole, load_lr_scheduler_states=False
        )
        restore_generators(generators)

    def close(self) -> None:
        """Let go of the model, and leave the group that ``join`` joined. Safe at any time, on any rank alone."""
        if self._wrapped is not None:
            self._wrapped.destroy()
            self._wrapped = None
        if self._joined and dist.is_initialized():
            import deepspeed

            deepspeed.comm.destroy_process_group()  # it keeps references that torch's function would leave
            self._joined = False


@contextlib.contextmanager
def alone(settings: EngineSettings) -> Iterator[TrainingEngine]:
    """The engine of a trainer in one process, joined; it is closed in the end."""
    engine = TrainingEngine(settings, RankPlace(0, 1, "127.0.0.1", free_port()))
    try:
        engine.join()
        yield engine
    finally:
        engine.close()


def device_of(setting: str) -> str:
    """The device, ``cpu`` or ``cuda``, that a setting of ``auto``, ``cpu`` or ``cuda`` stands for on this machine."""
    if setting == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return setting


def collective_of(setting: str) -> str:
    """The collective for such a setting."""
    return "nccl" if device_of(setting) == "cuda" else "gloo"


def join(place: RankPlace, settings: EngineSettings) -> None:
    """Set this process up as one rank and join the group. Blocks until all ranks came, at most ``startup_s`` seconds.

    Collectives afterwards give up after ``deadline_s``.

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
    if settings.collective == "gloo":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    _quieten()
    # DeepSpeed would compile its own shared-memory collectives for CPUs at first use, which takes a C++ compiler and
    # about a minute; gloo does the same work.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if settings.collective == "nccl":
        torch.cuda.set_device(place.local_rank)
    try:
        dist.init_process_group(
            settings.collective,
            rank=place.rank,
            world_size=place.world_size,
            timeout=timedelta(seconds=settings.startup_s),
        )
    except dist.DistError as error:
        raise InfrastructureError(
            settings.owner,
            f"rank {place.rank} waited {settings.startup_s:g} s for {place.world_size} ranks at "
            f"{place.master_address}:{place.master_port} ({first_line(error)}); check that all {place.world_size} "
            "started and that the port is reachable from their machines, or raise "
            f"{settings.owner}.startup_s",
        ) from error
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=settings.deadline_s))
    deepspeed.init_distributed(dist_backend=settings.collective, verbose=False, dist_init_required=False)


def _quieten() -> None:
    """Keep DeepSpeed's and transformers' chatter out of a run's console; their warnings stay."""
    from transformers.utils import logging as transformers_logging

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.distributed\..* is deprecated.*")
