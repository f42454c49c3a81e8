"""One DeepSpeed rank that trains a reward model: steps, held-out scores, and its state on disk.

Promises: a step and its metrics depend on the groups alone and not on how they are cut over ranks and micro-batches
(without dropout, to float tolerance); all ranks run the same sequence of collectives. Every public method but ``close``
is a collective: all ranks call it, in the same order, with the same arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.reasoning_rm.model.batching import budget_batches
from tracelift_ray.reasoning_rm.model.prefixes import check_shared_prefixes, good_marks
from tracelift_ray.reasoning_rm.training.adapters import add_adapters, make_optimizer, new_model, trained_tensors
from tracelift_ray.reasoning_rm.training.data import EncodedTrace
from tracelift_ray.reasoning_rm.training.losses import LossTerms, RubricTargets, count_pairs, prefix_loss, rubric_loss
from tracelift_ray.reasoning_rm.training.metrics import ScoredTrace
from tracelift_ray.reasoning_rm.training.passes import (
    PreparedGroup,
    Watch,
    forward,
    prepare,
    score_pass,
    watch_nothing,
)
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.training.engine import EngineSettings, TrainingEngine, collective_of
from tracelift_ray.training.export import gathered, parameters_of
from tracelift_ray.training.generators import seed_generators
from tracelift_ray.training.packing import plan_micro_batches
from tracelift_ray.training.ranks import RankPlace

LOSS_TERMS = (*LossTerms._fields[:-1], "prefix", "loss")
_BUCKET_MIB = 256


@dataclass(frozen=True)
class _Counts:
    """What the terms of a step's loss are divided by, over the whole batch."""

    groups: int
    traces: int
    pairs: int
    good: int
    flawed: int

    @classmethod
    def of(cls, groups: Sequence[PreparedGroup], margin: float) -> _Counts:
        trees = [group.tree for group in groups if group.tree is not None]
        return cls(
            groups=len(groups),
            traces=sum(len(group.traces) for group in groups),
            pairs=count_pairs(([trace.total for trace in group.traces[1:]] for group in groups), margin),
            good=sum(tree.num_good - tree.shared for tree in trees),
            flawed=sum(len(tree) - tree.num_good for tree in trees),
        )


class RmRank:
    """One rank.

    Args:
        names: the five dimensions.
        pad_id: the tokenizer's padding token.
    """

    def __init__(self, config: TrainRmConfig, names: tuple[str, ...], pad_id: int, place: RankPlace) -> None:
        self.place = place
        self._config = config
        self._names = names
        self._pad_id = pad_id
        self._engine = TrainingEngine(engine_settings(config), place)
        self._device = self._engine.device

    def start(self) -> None:
        """Join the other ranks and load the model.

        Raises:
            InfrastructureError: the other ranks did not come.
            RewardModelError: there is no backbone to load.
            ConfigError: the backbone does not fit the settings.
        """
        config = self._config
        self._engine.join()
        seed_generators(config.seed)
        model: Any = new_model(config, self._names)
        if config.share_prefixes:
            check_shared_prefixes(model.model.eval())
        if config.lora.rank:
            add_adapters(model, config.lora)
            if config.dtype == "bfloat16":
                _halve_frozen(model)
        if config.loss.prefix:
            model.add_good_head()
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._engine.begin(model, make_optimizer(model, config))
        seed_generators(config.seed + self.place.rank)

    def close(self) -> None:
        """Let go of the model and leave the group. Safe at any time."""
        self._engine.close()

    def step(self, batch: Sequence[Sequence[EncodedTrace]], rate_share: float) -> dict[str, float]:
        """One optimizer step on whole groups, each with its positive first; returns the terms of the loss and the norm.

        Args:
            rate_share: the share of the peak learning rates.
        Raises:
            ConfigError: the gradient is no number any more.
        """
        self._engine.model.train()
        groups = [prepare(traces, self._config.share_prefixes) for traces in batch]
        plan = plan_micro_batches(
            [group.tokens for group in groups], self.place.world_size, self._config.micro_batch_tokens
        ).ranks[self.place.rank]
        counts = _Counts.of(groups, self._config.loss.negative_margin)
        sums = torch.zeros(len(LOSS_TERMS), device=self._device)

        def loss(indices: Sequence[int]) -> Tensor:
            # A rank without groups takes part with a loss of nothing, since ZeRO's collectives need it.
            chosen = [groups[i] for i in indices] or groups[:1]
            terms = self._terms(chosen, counts) * (1.0 if indices else 0.0)
            sums.add_(terms.detach())
            return terms[-1]

        self._engine.accumulate(plan, loss)
        dist.all_reduce(sums)
        norm = self._engine.step(lambda peak: peak * rate_share)
        if not math.isfinite(norm):
            raise ConfigError("lr", self._config.lr, "gives a gradient that is not a number; lower lr or head_lr")
        return {**dict(zip(LOSS_TERMS, sums.tolist(), strict=True)), "grad_norm": norm}

    def score(self, groups: Sequence[Sequence[EncodedTrace]], watch: Watch = watch_nothing) -> list[list[ScoredTrace]]:
        """What the model says of every trace of every group, without dropout; the ranks share the work."""
        self._engine.model.eval()
        prepared = [prepare(traces, self._config.share_prefixes) for traces in groups]
        rank, world = self.place.rank, self.place.world_size
        batches = list(budget_batches([group.tokens for group in prepared], self._config.eval_batch_tokens))
        own: dict[int, list[ScoredTrace]] = {}
        for start in range(0, len(batches), world):
            # All ranks run as many passes, for ZeRO-3's sake: those that have none left repeat the last one.
            positions = batches[min(start + rank, len(batches) - 1)]
            own |= score_pass(self._engine.model, prepared, positions, self._pad_id, self._device)
            watch(min(len(own) * world, len(groups)), len(groups))
        shares: list[dict[int, list[ScoredTrace]]] = [{} for _ in range(world)]
        dist.all_gather_object(shares, own)
        scored = {position: traces for share in shares for position, traces in share.items()}
        return [scored[position] for position in range(len(groups))]

    def trained_weights(self) -> dict[str, Tensor]:
        """Copies of the trained parameters in float32 on the CPU; empty on all ranks but the first."""
        wanted = trained_tensors(self._engine.module).keys()
        first = self.place.rank == 0
        return {
            name: tensor.detach().to("cpu", torch.float32, copy=True)
            for name, tensor in gathered(parameters_of(self._engine.module), _BUCKET_MIB)
            if first and name in wanted
        }

    def save_state(self, directory: Path) -> None:
        """Save what ``load_state`` needs: trained weights, optimizer, and every rank's generators."""
        self._engine.save(directory)

    def load_state(self, directory: Path) -> None:
        """Go on from ``save_state``, on as many ranks."""
        self._engine.restore(directory)

    def _terms(self, groups: Sequence[PreparedGroup], counts: _Counts) -> Tensor:
        """The terms of the loss of some groups, in the order of ``LOSS_TERMS``, with gradient."""
        rows = [trace for group in groups for trace in group.traces]
        targets = RubricTargets(
            torch.tensor([row.labels for row in rows], device=self._device),
            torch.tensor([row.total for row in rows], device=self._device),
            tuple(len(group.traces) for group in groups),
        )
        weights = self._config.loss
        output = forward(self._engine.model, groups, self._pad_id, self._device)
        *terms, total = rubric_loss(
            output,
            targets,
            weights,
            num_traces=counts.traces,
            num_groups=counts.groups,
            num_pairs=counts.pairs,
        )
        prefix = total.new_zeros(())
        if output.good_logits is not None:
            good = good_marks([group.tree for group in groups if group.tree is not None], self._device)
            prefix = prefix_loss(output.good_logits, good, num_good=counts.good, num_flawed=counts.flawed)
        return torch.stack([*terms, prefix, total + weights.prefix * prefix])


def engine_settings(config: TrainRmConfig) -> EngineSettings:
    """What the configuration says of the ranks. In bfloat16 weights and gradients stay in float32."""
    return EngineSettings(
        owner="ranks",
        collective=collective_of(config.device),
        zero_stage=config.ranks.zero_stage,
        dtype="float32",
        grad_clip=config.grad_clip,
        startup_s=config.ranks.startup_s,
        deadline_s=config.ranks.deadline_s,
        autocast=config.dtype == "bfloat16",
    )


def _halve_frozen(model: torch.nn.Module) -> None:
    """Keep frozen weights in bfloat16, in which they are computed with: half the memory, and no casting at each use."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
