"""What an engine or a reward model holds beside its process, and how many sequences its cache admits."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.models import EngineConfig, ReasoningRmConfig
from tracelift_ray.engines.kinds import engine_kind
from tracelift_ray.planning.memory.parts import CPU_RUNTIME, GIB, GPU_RUNTIME, Parts
from tracelift_ray.planning.memory.shape import ModelShape, itemsize

#: ``engines.vllm_arguments.STEP_TOKENS`` and ``engines.batch_decoder.PREFILL_TOKENS``.
STEP_TOKENS, PREFILL_TOKENS = 8192, 16384
#: CUDA graphs of vLLM; an estimate, no GPU has run this.
GRAPHS = GIB


@dataclass(frozen=True)
class Load:
    """The most that an engine works on: ``samples`` at a time, each of a ``prompt`` and ``new`` tokens."""

    samples: int
    prompt: int
    new: int


@dataclass(frozen=True)
class Served:
    """An engine's parts on one GPU (or in its processes on CPUs), and the sequences of full length that fit its cache.

    Attributes:
        reserved: what vLLM takes of the GPU at its start; 0: it takes what it needs.
        admits: None where the cache grows with the work.
    """

    parts: Parts
    reserved: float = 0.0
    admits: float | None = None


def cache_per_token(shape: ModelShape, b: int, parallel: int = 1) -> float:
    """Bytes of keys and values of one token in all layers, on one of ``parallel`` GPUs, each with a head at least."""
    return 2.0 * shape.layers * max(shape.keys / parallel, shape.head) * b


def served(config: EngineConfig, shape: ModelShape, load: Load, gpu: float | None) -> Served:
    """An engine that loads its model here; ``gpu``: bytes of each of its GPUs, None on CPUs."""
    plan = _with_fixed_cache if engine_kind(config).fixed_cache else _with_growing_cache
    return plan(config, shape, load, gpu)


def _with_fixed_cache(config: EngineConfig, shape: ModelShape, load: Load, gpu: float | None) -> Served:
    """As vLLM."""
    b, parallel = itemsize(config.dtype, shape), config.tensor_parallel_size
    weights = b * shape.parameters / parallel
    tokens = max(config.max_model_len, STEP_TOKENS)
    if gpu is None:
        tokens = min(tokens, load.samples * load.prompt)
    # The widest place of a layer, and logits with what sampling makes of them.
    work = float(b * tokens * (3 * shape.intermediate / parallel + 2 * shape.hidden))
    work += 4.0 * 4 * min(config.max_num_seqs, load.samples) * shape.vocabulary
    per_sequence = config.max_model_len * cache_per_token(shape, b, parallel)
    if gpu is None:
        cache = config.kv_cache_gib * GIB
        packed = 2 * b * shape.vocabulary * shape.hidden if shape.tied else 0  # the CPU build's copies of that layer
        parts = Parts(weights=weights + packed, cache=cache, work=work, runtime=(1 + parallel) * CPU_RUNTIME)
        return Served(parts, admits=cache / per_sequence)
    reserved = config.gpu_memory_utilization * gpu
    graphs = 0.0 if config.enforce_eager else GRAPHS
    cache = reserved - weights - work - graphs - GPU_RUNTIME
    return Served(Parts(weights=weights, cache=cache, work=work + graphs), reserved, cache / per_sequence)


def _with_growing_cache(config: EngineConfig, shape: ModelShape, load: Load, gpu: float | None) -> Served:
    """As our own decoder: its cache is copied when rows join or leave, so two of them exist for a moment."""
    b = itemsize(config.dtype, shape)
    rows = min(config.max_num_seqs, load.samples)
    cache = 2 * rows * (load.prompt + load.new) * cache_per_token(shape, b)
    tokens = min(PREFILL_TOKENS, rows * load.prompt)
    work = b * tokens * (3 * shape.intermediate + 2 * shape.hidden) + 4.0 * 4 * rows * shape.vocabulary
    return Served(Parts(weights=b * shape.parameters, cache=cache, work=work))


def reward_model_parts(config: ReasoningRmConfig, shape: ModelShape) -> Parts:
    """The reasoning RM of backend model: weights and one forward pass."""
    b, tokens = itemsize(config.dtype, shape), max(config.max_batch_tokens, config.max_length)
    mask = b * config.max_length * tokens
    layer = tokens * (
        b * (3 * shape.intermediate + 4 * shape.hidden + 2 * (shape.query + shape.keys)) + 8 * shape.hidden
    )
    return Parts(weights=b * shape.parameters, work=float(layer + mask))
