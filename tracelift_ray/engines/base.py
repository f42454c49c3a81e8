"""The one interface through which text is generated, and the form in which an engine declares what it can do.

An engine is token in, token out: it reads token ids and returns exactly the ids that it emitted, with their
log-probabilities on request. A request that cannot be answered raises; an engine never invents an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tracelift_ray.types import Completion, Prompt, SamplingParams

if TYPE_CHECKING:
    from tracelift_ray.config.models import EngineConfig, RemoteConfig
    from tracelift_ray.config.schema import LoraConfig
    from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt


class Engine(Protocol):
    """Generates completions. Methods are called from one event loop; ``generate`` runs concurrently with itself.

    Attributes:
        version: version of the weights being served now; 0 until the first broadcast and for frozen models.
    """

    version: int

    async def start(self) -> None:
        """Load the model and answer one request.

        Raises:
            InfrastructureError: the engine does not come up within ``EngineConfig.startup_s``.
            ValueError: the model directory cannot be served.
        """
        ...

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of one prompt, in the order of their sample index.

        Cancelling the call aborts the request; deadlines are the caller's (``asyncio.timeout``).

        Raises:
            ValueError: prompt and completion do not fit the context.
            ComponentDead: the engine died, or serves nothing after a failed weight update.
            InfrastructureError: this request failed.
        """
        ...

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Replace the weights by those that the manifest describes, in all workers, with requests in flight.

        Returns once every worker serves exactly these weights (checksums compared) with empty caches.

        Raises:
            InfrastructureError: the transfer failed or did not match. Where the old weights were already touched,
                the engine is dead.
            TypeError: the engine was not built trainable.
        """
        ...

    async def sleep(self) -> None:
        """Free the memory of the GPU that weights and caches take. Requests wait until the engine is awake.

        A trainable engine keeps nothing of its weights: it must receive new ones before it wakes. A frozen one keeps
        them in the machine's memory. An engine that cannot sleep stays as it is.

        Raises:
            InfrastructureError: the engine died.
        """
        ...

    async def wake(self) -> None:
        """Take the memory again and go on; does nothing where the engine is awake.

        Raises:
            InfrastructureError: the engine died, the memory is not free, or new weights were needed and did not come.
        """
        ...

    async def health(self) -> None:
        """Return once the engine's processes have answered; a request may still take its time.

        Raises:
            InfrastructureError: the engine serves nothing any more.
        """
        ...

    def figures(self) -> dict[str, float]:
        """What the engine says of its own work since it was asked last, by name; metrics show it for each member."""
        ...

    async def close(self) -> None:
        """End every process and thread of the engine. May be called at any time, and more than once."""
        ...


def check_context(prompt: Prompt, params: SamplingParams, max_model_len: int) -> None:
    """Refuse a request that does not fit, before it reaches a scheduler that would cut it short or fail.

    Raises:
        ValueError: an empty prompt, or more prompt and completion tokens than the context holds.
    """
    length = len(prompt.token_ids)
    if length == 0:
        raise ValueError("the prompt has no tokens")
    if length + params.max_new_tokens > max_model_len:
        raise ValueError(
            f"a prompt of {length} tokens and {params.max_new_tokens} new ones exceed the context of {max_model_len}: "
            "raise engine.max_model_len, or lower max_prompt_tokens or max_new_tokens"
        )


@dataclass(frozen=True)
class EngineRequest:
    """What an engine is made from; see ``kinds.build_engine``."""

    config: EngineConfig
    model: str
    transfer: str | None
    adapter: LoraConfig | None
    remote: RemoteConfig | None
    seed: int
    sleeps: bool


@dataclass(frozen=True)
class EngineKind:
    """What a kind of engine can do. Configuration checks and callers ask this, never the name of a kind.

    Attributes:
        build: makes an engine, not started yet, of a request that the kind declares possible. Imports what it needs
            when it is called.
        local: the engine loads the weights of a model directory on this machine. Otherwise it is a client of a server,
            configured by ``RemoteConfig``: it needs no weights, no GPU and no context limit here.
        transfers: names in ``transfer.kinds.TRANSFERS`` by which it takes new weights; empty for frozen models only.
        logprobs: returns the log-probs of the tokens it sampled, under the distribution it sampled from.
        request_seeds: a request with a seed gives the same samples beside any other requests.
        patterns: ends a sample at a pattern in its text (``SamplingParams.until``).
        tensor_parallel: can spread one model over several GPUs or processes.
        fixed_cache: its cache of keys and values is as large as was set at its start; otherwise it grows with the work.
        sleeps: can free its memory of a GPU and take it again.
        adapter_transfers: those of ``transfers`` by which it takes adapters alone.
        adapter_rank: the highest rank of these; 0: any.
        dora: whether these may be DoRA's.
        check_extra: refuses entries of ``EngineConfig.extra`` by ``ConfigError``; the text is the key of what has the
            engine. None: it takes no such entries.
    """

    build: Callable[[EngineRequest], Engine]
    local: bool
    transfers: tuple[str, ...]
    logprobs: bool
    request_seeds: bool
    tensor_parallel: bool
    patterns: bool = False
    fixed_cache: bool = False
    sleeps: bool = False
    adapter_transfers: tuple[str, ...] = ()
    adapter_rank: int = 0
    dora: bool = False
    check_extra: Callable[[Mapping[str, Any], str], None] | None = None

    @property
    def trains(self) -> bool:
        """Whether it can serve the policy that is trained: it takes weights and returns log-probs."""
        return bool(self.transfers) and self.logprobs


def check_transfer(transfer: str | None, manifest: WeightManifest, adapter: LoraConfig | None = None) -> None:
    """Refuse weights that an engine was not built to take.

    Raises:
        TypeError: its model is frozen.
        ValueError: they are sent in another way.
    """
    if transfer is None:
        raise TypeError("this engine serves a frozen model: build it with a weight transfer to send it weights")
    if manifest.backend != transfer:
        raise ValueError(f"weights sent by {manifest.backend} to an engine built for {transfer}")
    if (manifest.adapter is None) != (adapter is None):
        sent, built = ("adapters", "all weights") if adapter is None else ("all weights", "adapters")
        raise ValueError(f"{sent} were sent to an engine built for {built}")
