"""What a rank of the learner holds, as DeepSpeed lays it out and as the model's layers keep it for the backward pass.

The formulas follow a Llama-like layer of transformers with PyTorch's fused attention; ``benchmarks/memory.py`` compares
them with measured peaks. n ranks, p trained parameters, b bytes of an element, t tokens of a micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracelift_ray.config.schema import LearnerConfig, RunConfig
from tracelift_ray.planning.memory.parts import Parts
from tracelift_ray.planning.memory.shape import ModelShape, itemsize
from tracelift_ray.planning.memory.trained import Trained, trained_part
from tracelift_ray.transfer.kinds import TRANSFERS

MIB = 2**20
#: ``training.logprobs.CHUNK``: tokens whose logits exist together.
CHUNK = 1024
#: ``reduce_bucket_size`` of ``training.engine``: elements that DeepSpeed reduces together.
BUCKET = 50_000_000
#: DeepSpeed's own bucket without ZeRO, and what ZeRO-3 fetches ahead, in elements.
FLAT, PREFETCH = 500_000_000, 50_000_000
#: ``rl.learner`` gathers this much at a time under ZeRO-3 to send or save weights.
GATHER = 256 * MIB


@dataclass(frozen=True)
class MicroBatch:
    """The longest one: ``tokens`` in rows of ``width``, next to all of them completion tokens."""

    tokens: int
    width: int


def longest_micro_batch(config: RunConfig) -> MicroBatch:
    """What ``learner.micro_batch_tokens`` admits at worst; of one that ranks share, a rank's part."""
    learner = config.learner
    longest = config.planner.max_prompt_tokens + config.planner.sampling.max_new_tokens
    together = learner.sequence_parallel
    traces = -(-config.algorithm.groups_per_step * config.algorithm.group_size * together // learner.num_workers)
    tokens = max(longest, min(learner.micro_batch_tokens, traces * longest))
    width = tokens if learner.layout == "packed" else longest
    return MicroBatch(-(-tokens // together), -(-width // together))


@dataclass(frozen=True)
class RankPlan:
    """What one rank holds at its worst moment, which ``worst`` names, and what a micro-batch alone takes.

    Attributes:
        lasting: what stays on its device while others generate.
        batch: the longest micro-batch.
        passing: its activations and logits.
    """

    parts: Parts
    worst: str
    lasting: float
    batch: MicroBatch
    passing: Parts


def rank_plan(config: RunConfig, shape: ModelShape) -> RankPlan:
    """What one rank of the learner holds."""
    learner, gpus, batch = config.learner, config.learner.gpus_per_worker > 0, longest_micro_batch(config)
    b = itemsize(learner.dtype, shape)
    held = _lasting(learner, shape, b)
    if config.algorithm.kl_coef > 0 and not learner.lora.rank:  # the model that training started from
        held = replace(held, weights=2 * held.weights)
    kept = TRANSFERS[config.stream.weight_transfer].keeps + config.stream.sends_changes
    if kept:
        copy = kept * _copy(config, shape, b)
        held = replace(held, host=held.host + copy) if gpus else replace(held, buffers=held.buffers + copy)
    moments = _moments(config, shape, batch, b, gpus) | {"sending weights": _sending(config, shape, b, gpus)}
    worst = max(moments, key=lambda name: moments[name].total)
    parts = replace(
        held,
        gradients=held.gradients + moments[worst].gradients,
        activations=moments[worst].activations,
        logits=moments[worst].logits,
        buffers=held.buffers + moments[worst].buffers,
        host=held.host + max(moment.host for moment in moments.values()),
    )
    passing = replace(moments["the loss"], activations=moments["the backward pass"].activations)
    # ZeRO-2 frees the gradients that were added up.
    freed = held.gradients if stage_of(learner) == 2 else 0.0
    return RankPlan(parts.on(gpus), worst, held.on(gpus).total - freed, batch, passing)


def stage_of(learner: LearnerConfig) -> int:
    """The stage that DeepSpeed runs, as ``training.engine.EngineSettings.stage``."""
    return max(learner.zero_stage, 1) if learner.dtype == "bfloat16" else learner.zero_stage


def _lasting(learner: LearnerConfig, shape: ModelShape, b: int) -> Parts:
    """What stays from step to step: weights, gradients that add up, optimizer, and ZeRO-3's bucket."""
    p, n, stage = trained_part(learner.lora, shape).parameters, learner.num_workers, stage_of(learner)
    weights = float(b * (shape.parameters + (p if learner.lora.rank else 0)))
    if stage == 0:  # AdamW's two moments
        return Parts(weights=weights, gradients=4 * p, optimizer=8 * p)
    weights /= n if stage == 3 else 1
    optimizer = 12 * p / n  # a float32 copy of the weights, and the moments
    gradients = 4 * p / n
    if stage == 1:
        # In bfloat16 they add up in float32, beside those of the micro-batch; once more on their way to the machine.
        gradients = 4 * p + (b * p if b < 4 else 0) + (4 * p if learner.offload_optimizer else 0)
    parts = Parts(weights=weights, gradients=gradients, optimizer=optimizer)
    if learner.offload_optimizer:
        copies = 4 * p / n + (b * p / n if stage < 3 else 0)
        parts = replace(
            parts, gradients=gradients if stage == 1 else 0.0, optimizer=0.0, host=optimizer + 4 * p / n + copies
        )
    if learner.offload_parameters:
        parts = replace(parts, weights=0.0, host=parts.host + weights)
    return replace(parts, buffers=b * BUCKET) if stage == 3 else parts


def logit_copies(config: RunConfig) -> float:
    """How many tensors of the size of a chunk's float32 logits exist together."""
    sampling = config.planner.sampling
    if sampling.top_p < 1 or sampling.top_k > 0:  # the cut sorts them, with their places
        return 9.25
    return 6.0 if config.algorithm.entropy_coef > 0 else 4.0


def _moments(config: RunConfig, shape: ModelShape, batch: MicroBatch, b: int, gpus: bool) -> dict[str, Parts]:
    """What comes on top of that, by the moment."""
    learner = config.learner
    trained, n, stage = trained_part(learner.lora, shape), learner.num_workers, stage_of(learner)
    kept, layer = activations(shape, batch, b, checkpointing=learner.gradient_checkpointing, trained=trained)
    bucket = _bucket(learner, b)
    gathered, ahead = (b * shape.largest, b * min(shape.parameters, PREFETCH)) if stage == 3 else (0, 0)
    in_chunks = shape.chunked and batch.tokens > CHUNK
    own_gradients = float(b * trained.largest)
    return {
        "the loss": Parts(
            activations=kept,
            gradients=2.0 * b * trained.output if in_chunks else 0.0,  # from one chunk, and from those before it
            logits=4 * logit_copies(config) * shape.vocabulary * (CHUNK if in_chunks else batch.tokens),
            buffers=gathered + (bucket if stage == 1 else 0.0),
        ),
        "the backward pass": Parts(
            activations=kept + layer, gradients=own_gradients, buffers=gathered + ahead + bucket
        ),
        "the end of the backward pass": Parts(
            gradients=b * trained.parameters / n if stage == 2 else 0.0, buffers=bucket + own_gradients
        ),
        "the optimizer's step": Parts(buffers=_step(learner, trained, bucket, gpus)),
    }


def _bucket(learner: LearnerConfig, b: int) -> float:
    """DeepSpeed's buckets of stages 1 and 2: two where reducing overlaps with computing."""
    stage = stage_of(learner)
    alone = stage == 1 and b < 4 and not learner.offload_optimizer  # its optimizer for bfloat16 has none
    if stage not in (1, 2) or alone:
        return 0.0
    return float(b * BUCKET * (2 if learner.collective == "nccl" else 1))


def _step(learner: LearnerConfig, trained: Trained, bucket: float, gpus: bool) -> float:
    """Flat copies of gradients, and what AdamW makes on its way: on GPUs of all its weights at once, once."""
    p, n, stage = trained.parameters, learner.num_workers, stage_of(learner)
    if stage == 0:
        return max(4.0 * min(p, FLAT), 8.0 * trained.largest)
    if learner.offload_optimizer:  # it steps in the machine's memory
        return 0.0
    return 4 * p / n * ((1 if gpus else 2) + (1 if stage > 1 or bucket else 0))


def activations(
    shape: ModelShape, batch: MicroBatch, b: int, *, checkpointing: bool, trained: Trained | None = None
) -> tuple[float, float]:
    """Bytes that a forward pass keeps for the backward pass, and that one layer needs on top while it is passed back.

    With checkpointing a layer keeps its input alone, and is computed again. ``trained``: None for all weights.
    """
    adapters = trained is not None and trained.adapters
    hidden, inner, t = shape.hidden, shape.intermediate, batch.tokens
    # Its input in float32, the scaled one, and where the scale is trained the normalised one.
    norm = (4 + b + (0 if adapters else b)) * hidden
    attention = b * 2 * (shape.query + shape.keys)
    if shape.head_norms:
        attention += (4 + b) * (shape.query + shape.keys)
    mlp = b * inner * (4 if shape.gated else 2)
    mask = b * batch.width * t  # that of each row, in the type of the scores
    own = b * trained.inner + (b + 1) * trained.dropped if trained is not None else 0
    layer = t * (2 * norm + attention + mlp + own) + mask
    ends = t * (norm + b * hidden)  # the embeddings, and the norm at the end
    passed_back = 4.0 * t * (inner + hidden)
    if not checkpointing:
        return shape.layers * layer + ends, passed_back
    return shape.layers * b * hidden * t + ends, layer + passed_back


def _sending(config: RunConfig, shape: ModelShape, b: int, gpus: bool) -> Parts:
    """While weights are sent or saved: what is packed, under ZeRO-3 what is gathered, and rank 0's copy of all."""
    divided, copy = stage_of(config.learner) == 3, _copy(config, shape, b)
    sent = copy * config.learner.num_workers
    transfer = TRANSFERS[config.stream.weight_transfer]
    packed = 2 * config.stream.bucket_mib * MIB if transfer.collective or transfer.shared_gpus else 0
    gathered = float(min(max(GATHER, b * shape.largest), sent)) if divided else 0.0
    return Parts(buffers=packed + gathered + (0.0 if gpus else copy), host=copy if gpus else 0.0)


def _copy(config: RunConfig, shape: ModelShape, b: int) -> float:
    """Each rank's share of rank 0's copy, in the node's memory: what is saved, or lies in shared memory."""
    sent = b * shape.parameters
    if config.learner.sent_adapter is not None:
        sent = b * trained_part(config.learner.lora, shape).parameters
    return sent / config.learner.num_workers
