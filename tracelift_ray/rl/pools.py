"""What the loop needs of its pools, as Protocols.

The same loop runs on Ray actors, on in-process fakes and on engines in one process, because it knows no more of them
than this. Every method has a deadline and raises ``InfrastructureError`` when there is no result after the
pool's retries; none of them turns a failure into a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest, WeightReceipt
from tracelift_ray.types import (
    Artifact,
    Completion,
    Problem,
    Prompt,
    RubricScore,
    SamplingParams,
    TrainBatch,
    TrainSample,
    Verdict,
)


class GeneratorPool(Protocol):
    """Members that sample from a model: the executor pool, and the part of the planner pool that generates."""

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of one prompt, in order."""


class WeightReceivers(Protocol):
    """Engines that take new weights: all of the planner pool's members, or one of them."""

    def receivers(self) -> tuple[str, ...]:
        """The engines that will receive, by names that no other engine has or had."""

    def held(self) -> Held | None:
        """The version that all of them have, by their receipts; None where one has another, or none."""

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """Every engine takes the weights that ``manifest`` describes; one receipt for each that did.

        One whose transfer broke waits for the weights to be sent again. One that failed, or was left in the middle
        because this was cancelled, serves nothing any more.
        """

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        """One completion of ``prompt`` from every engine that answers, by its name; another is replaced."""


class VerifierPool(Protocol):
    """Members that check artifacts."""

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        """One verdict for each artifact, in order."""


class ReasoningRmPool(Protocol):
    """Members that score traces against the rubric."""

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of one trace."""


class LearnerGroup(Protocol):
    """The learner's ranks, driven together."""

    #: Held while the weights change, and while a version of them is sent.
    lock: asyncio.Lock

    async def update(self, batch: TrainBatch) -> dict[str, float] | None:
        """Train on ``batch``; its metrics. Raises the policy version unless the batch holds no sample.

        None where the update was abandoned: the learner is as before it.
        """

    async def abandon_update(self) -> None:
        """End an update that has made no optimizer step yet; no other follows. Returns at once."""

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        """The manifest of the weights as they are now, for these engines, all of which have the version ``held``."""

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        """Send what ``manifest`` describes."""

    async def abort_weights(self) -> None:
        """End a ``send_weights`` that waits for engines; it raises ``TransferBroken``."""

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        """Log-probs of the samples' completion tokens at the planner's temperature. The caller holds ``lock``."""

    async def release_weights(self, manifest: WeightManifest) -> None:
        """Free what the transfer held (a file in shared memory, say)."""

    async def save(self, planner_dir: str, state_dir: str | None) -> None:
        """Write the planner as a Hugging Face directory and, where ``state_dir`` is given, the optimizer's state."""
