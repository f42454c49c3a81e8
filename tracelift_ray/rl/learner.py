"""The learner: one DeepSpeed rank that trains the policy, sends its weights out, and saves and restores itself.

Promises: an update depends on the batch alone and not on how it is cut (ranks, micro-batches, ZeRO stage); ``version``
counts optimizer steps, and a batch without samples makes none; all ranks run the same sequence of collectives.
Public methods that do not say otherwise are collectives: all ranks call them, in the same order.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tracelift_ray.config.schema import AlgorithmConfig, LearnerConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.losses import LossInputs
from tracelift_ray.rl.metrics import MetricSums, UpdateMetrics
from tracelift_ray.rl.normalisations import token_weight
from tracelift_ray.rl.objective import needs_old, objective
from tracelift_ray.training.checkpoint import disk_errors
from tracelift_ray.training.engine import EngineSettings, TrainingEngine
from tracelift_ray.training.export import gathered, to_the_end
from tracelift_ray.training.generators import generator_states, restore_generators, seed_generators
from tracelift_ray.training.layout import check_layout, state_layout, write_layout
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.microbatches import MicroBatch, check_batch, collate
from tracelift_ray.training.packing import plan_micro_batches
from tracelift_ray.training.peak import peak_flops, token_flops
from tracelift_ray.training.policy import Policy
from tracelift_ray.training.ranks import RankPlace
from tracelift_ray.training.schedule import learning_rate
from tracelift_ray.training.sequence import sequence_group
from tracelift_ray.transfer.delta_sender import DeltaSender
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import Held, Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import SenderSettings, WeightSender, parameter_specs
from tracelift_ray.types import TrainBatch, TrainSample

_BUCKET_MIB = 256
#: Log-probs of a micro-batch under other weights; None where the loss needs none.
Scores = torch.Tensor | None


def engine_settings(config: LearnerConfig) -> EngineSettings:
    """What the learner's configuration says of its ranks."""
    return EngineSettings(
        owner="learner",
        collective=config.collective,
        zero_stage=config.zero_stage,
        offload_optimizer=config.offload_optimizer,
        offload_parameters=config.offload_parameters,
        dtype=config.dtype,
        grad_clip=config.grad_clip,
        startup_s=config.startup_s,
        deadline_s=config.update_deadline_s,
    )


class _Abandoned(Exception):
    """An update ends before its first optimizer step."""


class Learner:
    """One rank of the learner.

    Args:
        model: local Hugging Face directory of the start weights, also of the KL reference.
        distribution: what the planner samples from, at a temperature above 0; log-probs here are under it, too.
        total_steps: steps of the run; with ``updates_per_batch`` it sets the length of the schedule.
        seed: seeds every rank's generators.
    """

    def __init__(
        self,
        learner: LearnerConfig,
        algorithm: AlgorithmConfig,
        model: str,
        distribution: Distribution,
        total_steps: int,
        seed: int,
        place: RankPlace,
    ) -> None:
        if distribution.temperature <= 0:
            raise ValueError(
                f"planner.sampling.temperature is {distribution.temperature}; a policy is trained at the temperature "
                "that it is sampled at, which must be above 0"
            )
        self.version = 0
        self._config = learner
        self._algorithm = algorithm
        self._model = model
        self._distribution = distribution
        self._optimizer_steps = total_steps * algorithm.updates_per_batch
        self._seed = seed
        self._place = place
        self._engine = TrainingEngine(engine_settings(learner), place)
        self._policy: Policy | None = None
        self._sender: WeightSender | None = None
        self._packed = learner.layout == "packed"
        self._give_up = threading.Event()
        self._stepped = False  # in the present update

    def start(self) -> None:
        """Join the other ranks and load the model. Blocks at most ``startup_s`` seconds for the others.

        A process that joined its group before (``engine.join``) stays in it; several learners may then follow each
        other.

        Raises:
            InfrastructureError: the other ranks did not come.
            DataError: the model directory cannot be loaded, or its model cannot train on packed rows or lacks layers
                for adapters.
        """
        seed_generators(self._seed)
        self._engine.join()
        referenced = self._algorithm.kl_coef > 0
        sequence = sequence_group(self._place, self._config.sequence_parallel, self._config.update_deadline_s)
        self._policy = Policy(
            self._engine, self._config, self._model, referenced=referenced, seed=self._seed, sequence=sequence
        )

    def close(self) -> None:
        """Let go of the model and of sent weights, and leave the group that ``start`` joined. Safe at any time, on any
        rank alone."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        self._policy = None
        self._engine.close()

    def update(self, batch: TrainBatch) -> UpdateMetrics | None:
        """Take ``updates_per_batch`` optimizer steps on a batch that every rank is given whole.

        Returns:
            The global metrics, the same on every rank; None where the batch has no samples, or where the update was
            abandoned: both make no step.
        Raises:
            ValueError: the batch is malformed.
            InfrastructureError: loss or gradient is not finite.
        """
        check_batch(batch)
        if not batch.samples:
            return None
        started, generators = time.monotonic(), generator_states()
        self._stepped = False
        micro_batches, policy, distribution = self._cut(batch), self._started(), self._distribution
        asked, old, reference = needs_old(self._algorithm), list[Scores](), list[Scores]()
        try:
            for each in micro_batches:
                self._unless_abandoned()
                old.append(policy.logprobs(each, distribution) if asked else None)
                reference.append(policy.reference_logprobs(each, distribution))
            steps = [self._step(micro_batches, old, reference) for _ in range(self._algorithm.updates_per_batch)]
        except _Abandoned:
            restore_generators(generators)
            return None
        seconds = time.monotonic() - started
        return UpdateMetrics.of_steps(
            steps,
            samples=len(batch.samples),
            micro_batches=len(micro_batches),
            seconds=seconds,
            peak_share=self._peak_share(len(steps) * sum(map(len, batch.samples)), seconds),
        )

    def _peak_share(self, tokens: int, seconds: float) -> float | None:
        """What share of the operations that the GPUs of all ranks do at most trained on so many tokens."""
        peak = peak_flops(self._engine.device)
        if peak is None:
            return None
        return tokens * token_flops(self._engine.module.parameters()) / (seconds * self._place.world_size * peak)

    def abandon_update(self) -> None:
        """End an update that has made no optimizer step yet, between two micro-batches. From any thread; no collective.

        The learner is then as before the update, but for gradients: it can save, and takes no update any more.
        """
        self._give_up.set()

    @property
    def abandoned(self) -> bool:
        """Whether an update was, or will be, abandoned."""
        return self._give_up.is_set()

    def _unless_abandoned(self) -> None:
        """Between micro-batches, all ranks together, for they must end at the same one. Raises ``_Abandoned``."""
        if self._stepped:
            return
        given_up = self._give_up.is_set()
        if self._place.world_size > 1:
            asked = torch.tensor(float(given_up), device=self._engine.device)
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
            given_up = bool(asked.item())
        if given_up:
            self._give_up.set()
            raise _Abandoned

    def free_cache(self) -> None:
        """Give back the memory of the GPU that torch keeps for its next allocation; for others on the same GPU."""
        if self._engine.device.type == "cuda":
            torch.cuda.empty_cache()

    def _cut(self, batch: TrainBatch) -> list[MicroBatch]:
        """This rank's micro-batches."""
        lengths = [len(sample) for sample in batch.samples]
        together, tokens = self._config.sequence_parallel, self._config.micro_batch_tokens
        plan = plan_micro_batches(lengths, self._place.world_size // together, tokens, packed=self._packed)
        mine = plan.ranks[self._place.rank // together]
        return [self._collate(batch, [batch.samples[i] for i in indices]) for indices in mine]

    def _collate(self, batch: TrainBatch, samples: list[TrainSample]) -> MicroBatch:
        weights = [token_weight(sample, batch, self._algorithm) for sample in samples]
        return collate(samples, weights, self._engine.device, packed=self._packed)

    def _step(self, batches: list[MicroBatch], old: list[Scores], reference: list[Scores]) -> dict[str, float]:
        """One optimizer step over all micro-batches; its metrics."""
        sums = MetricSums(self._engine.device, self._config.sequence_parallel)
        pieces = list(zip(batches, old, reference, strict=True))
        self._engine.accumulate(pieces, lambda piece: self._loss(*piece, sums))
        metrics = sums.reduce()
        self._require_finite("loss", metrics["loss"])
        self._stepped = True
        metrics["lr"] = self._learning_rate(self._config.lr)
        metrics["grad_norm"] = self._engine.step(self._learning_rate)
        self._require_finite("gradient norm", metrics["grad_norm"])
        self.version += 1
        return metrics

    def _loss(self, batch: MicroBatch, old: Scores, reference: Scores, sums: MetricSums) -> torch.Tensor:
        """This micro-batch's share of the loss: a sum of per-token terms over batch-wide denominators."""
        self._unless_abandoned()
        bonus = self._algorithm.entropy_coef > 0
        current, entropy = self._started().scores(batch, self._distribution, entropy_gradient=bonus)
        before = current.detach() if old is None else old
        tokens = LossInputs(current, before, batch.behaviour, batch.advantages, batch.segments, batch.lengths)
        terms = objective(tokens, reference, entropy, self._algorithm)
        loss = (terms.loss * batch.weights).sum()
        sums.add(loss, tokens, terms, entropy)
        return loss

    def _learning_rate(self, peak: float) -> float:
        """Of the next optimizer step."""
        return learning_rate(
            self.version,
            self._optimizer_steps,
            peak=peak,
            schedule=self._config.schedule,
            warmup_steps=self._config.warmup_steps,
        )

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise InfrastructureError(
                "learner",
                f"the {what} of optimizer step {self.version + 1} is {value}; the last checkpoint is from before it. "
                "Lower learner.lr or learner.grad_clip, or check the logged mismatch of log-probs",
            )

    def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        """Log-probs of the samples' completion tokens at the planner's temperature, without a cut; on every rank."""
        batch = collate(samples, [0.0] * len(samples), self._engine.device)
        logprobs = self._started().logprobs(batch, Distribution(self._distribution.temperature))
        return tuple(tuple(each.tolist()) for each in logprobs.split(batch.lengths.tolist()))

    def _started(self) -> Policy:
        if self._policy is None:
            raise RuntimeError("the learner has not started")
        return self._policy

    def parameter_specs(self) -> tuple[TensorSpec, ...]:
        """Name, full shape and dtype of what is sent, in the order of ``named_tensors``. No collective."""
        sent = self._started().sent()
        return parameter_specs(((weight.name, weight.sources[0]) for weight in sent), self._config.dtype)

    def named_tensors(self, bucket_mib: int = _BUCKET_MIB) -> Iterator[tuple[str, torch.Tensor]]:
        """What is sent; see ``export.gathered``. All ranks run it to its end together."""
        return gathered(self._started().sent(), bucket_mib)

    def open_weights(self, transfer: str, settings: SenderSettings) -> None:
        """Open the channel to the planner engines by ``transfer``, a name in ``TRANSFERS``."""
        self._sender = build_weight_sender(transfer, replace(settings, rank=self._place.rank))

    def encode_weights(self, held: Held) -> None:
        """Have the present version described and sent as what changed since ``held``, where that is possible."""
        sender = self._open_sender()
        with to_the_end(self.named_tensors()) as tensors:
            if isinstance(sender, DeltaSender):
                sender.encode(self.parameter_specs(), self.version, tensors, held)

    def describe_weights(self, receivers: Sequence[str] = ()) -> WeightManifest:
        """The manifest of the present version for the engines of these names. Rank 0 only; no collective."""
        described = self._open_sender().describe(self.parameter_specs(), self.version, receivers)
        return replace(described, adapter=self._started().adapter)

    def send_weights(self, manifest: WeightManifest) -> Sent:
        """Send the weights that ``manifest`` describes."""
        if manifest.version != self.version:
            raise ValueError(f"asked to send version {manifest.version}, but the learner is at {self.version}")
        # A change was gathered when it was made.
        with to_the_end(iter(()) if manifest.change else self.named_tensors(manifest.bucket_mib)) as tensors:
            return self._open_sender().send(manifest, tensors)

    def abort_weights(self) -> None:
        """End a ``send_weights`` that waits for engines, from any thread."""
        self._open_sender().abort()

    def release_weights(self, version: int) -> None:
        """All engines have ``version``: free what was held for it. No collective."""
        self._open_sender().release(version)

    def _open_sender(self) -> WeightSender:
        if self._sender is None:
            raise RuntimeError("the weight channel is not open; call open_weights first")
        return self._sender

    def save_pretrained(self, directory: str | Path) -> None:
        """Save the policy, tokenizer included; see ``Policy.save``. CheckpointError where the disk is full."""
        path = Path(directory)
        with disk_errors(path):
            self._started().save(path, write=self._place.rank == 0)
        torch.distributed.barrier()

    def save_state(self, directory: str | Path) -> None:
        """Save what ``load_state`` needs: weights, optimizer, version and every rank's generators."""
        path = Path(directory)
        self._engine.save(path)
        if self._place.rank == 0:
            write_layout(path, self._layout(), self.version, self._model)
        torch.distributed.barrier()

    def load_state(self, directory: str | Path) -> None:
        """Go on from ``save_state``: afterwards this rank is as the one that saved.

        Raises:
            CheckpointError: saved under another number of ranks, ZeRO stage, dtype or adapter, of another base model,
                or unreadable.
        """
        path = Path(directory)
        version = check_layout(path, self._layout(), self._model)
        self._engine.restore(path)
        self.version = version

    def _layout(self) -> dict[str, Any]:
        return state_layout(self._config, self._place.world_size)
