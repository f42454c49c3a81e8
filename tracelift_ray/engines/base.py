"""The one interface through which text is generated, and the choice of what stands behind it.

An engine is token in, token out: it is given token ids and returns exactly the ids that it emitted, with their
log-probabilities where they are asked for. What cannot be answered raises; an engine never makes an answer up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tracelift_ray.types import Completion, Prompt, SamplingParams

if TYPE_CHECKING:
    from tracelift_ray.config.schema import EngineConfig, RemoteConfig
    from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt

ENGINE_KINDS = ("vllm", "transformers", "openai")


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
                the engine serves nothing any more.
            TypeError: the engine was not built trainable.
        """
        ...

    async def close(self) -> None:
        """End every process and thread of the engine. May be called at any time, more than once."""
        ...


def build_engine(
    config: EngineConfig,
    model: str,
    *,
    trainable: bool,
    weight_transfer: str = "shared_memory",
    remote: RemoteConfig | None = None,
    seed: int = 0,
) -> Engine:
    """The engine that the configuration asks for, not started yet.

    Args:
        model: directory of a Hugging Face model; unused by ``openai``.
        trainable: whether ``receive_weights`` will be called.
        weight_transfer: backend of those weights: ``shared_memory``, ``nccl`` or ``ipc``.
        remote: the server of an ``openai`` engine.
        seed: of requests that bring no seed of their own, where the engine can be seeded.

    Raises:
        ValueError: an unknown kind, or a combination that cannot work.
    """
    if config.kind == "vllm":
        from tracelift_ray.engines.vllm_engine import VllmEngine

        return VllmEngine(config, model, weight_transfer=weight_transfer if trainable else None, seed=seed)
    if config.kind == "transformers":
        from tracelift_ray.engines.transformers_engine import TransformersEngine

        if trainable and weight_transfer != "shared_memory":
            raise ValueError(f"a transformers engine receives weights by shared_memory only, not {weight_transfer!r}")
        return TransformersEngine(config, model, trainable=trainable, seed=seed)
    if config.kind == "openai":
        from tracelift_ray.engines.openai_engine import OpenAIEngine

        if trainable:
            raise ValueError("an openai engine cannot be trained: use kind vllm or transformers for the planner")
        if remote is None:
            raise ValueError("an openai engine needs the configuration of its server (remote)")
        return OpenAIEngine(remote)
    raise ValueError(f"unknown engine kind {config.kind!r}: use one of {', '.join(ENGINE_KINDS)}")


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
