"""What one worker holds, part by part, in bytes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

GIB = 2**30
#: A process before it holds a model: on a GPU its context and libraries (an estimate, no GPU has run this), on CPUs
#: the imports of torch and vLLM (measured, docs/results/memory.md).
GPU_RUNTIME = GIB
CPU_RUNTIME = 0.7 * GIB


@dataclass(frozen=True)
class Parts:
    """What lies together at the worst moment; their sum is what a worker needs of its GPU, or of its node on CPUs.

    Attributes:
        work: what a step of an engine or a scorer needs beside weights and cache.
        buffers: DeepSpeed's buckets, copies at the optimizer's step, what a weight transfer packs.
        host: what a worker on a GPU keeps in its node's memory; not part of the sum.
    """

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    cache: float = 0.0
    work: float = 0.0
    buffers: float = 0.0
    runtime: float = 0.0
    host: float = 0.0

    @property
    def total(self) -> float:
        return sum(getattr(self, name) for name in ON_DEVICE)

    def on(self, gpus: bool) -> Parts:
        """With the process itself; on CPUs all is in the node's memory."""
        if gpus:
            return replace(self, runtime=GPU_RUNTIME, host=self.host + CPU_RUNTIME)
        return replace(self, runtime=self.runtime or CPU_RUNTIME, buffers=self.buffers + self.host, host=0.0)


ON_DEVICE = tuple(field.name for field in fields(Parts) if field.name != "host")
