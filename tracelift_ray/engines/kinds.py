"""The table of engines, and the one factory. Nothing outside ``engines/`` compares or names a kind.

A new engine is a module that declares an ``EngineKind``, and a line in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.engines import openai_engine, transformers_engine, vllm_engine
from tracelift_ray.engines.base import Engine, EngineKind, EngineRequest

if TYPE_CHECKING:
    from tracelift_ray.config.models import EngineConfig, ExecutorConfig, JudgeConfig, RemoteConfig
    from tracelift_ray.config.schema import LoraConfig

ENGINES: dict[str, EngineKind] = {
    "vllm": vllm_engine.KIND,
    "transformers": transformers_engine.KIND,
    "openai": openai_engine.KIND,
}


#: The kind that loads a model into the process that asks, soon and on any machine.
IN_PROCESS = "transformers"


def engine_kind(config: EngineConfig) -> EngineKind:
    """What the configured engine can do. Raises ValueError for a kind that does not exist."""
    kind = ENGINES.get(config.kind)
    if kind is None:
        raise ValueError(f"unknown engine kind {config.kind!r}: use one of {', '.join(ENGINES)}")
    return kind


def is_remote(config: EngineConfig) -> bool:
    """Whether the engine is a client of a server, configured by ``RemoteConfig``."""
    return not engine_kind(config).local


def needs_tokenizer(config: EngineConfig, remote: RemoteConfig) -> bool:
    """Whether prompts are sent as token ids, so that the model's tokenizer is needed here."""
    return not is_remote(config) or remote.api == "completions"


def served_model(model: ExecutorConfig | JudgeConfig) -> str:
    """The model's name where it is served: its directory, or its name on the server."""
    return model.remote.model if is_remote(model.engine) else model.model


def training_kinds() -> tuple[str, ...]:
    """Names of the engines that can serve the policy that is trained."""
    return tuple(name for name, kind in ENGINES.items() if kind.trains)


def local_kinds() -> tuple[str, ...]:
    """Names of the engines that load a model directory on this machine."""
    return tuple(name for name, kind in ENGINES.items() if kind.local)


def check_extra(config: EngineConfig, owner: str) -> None:
    """Check the arguments that are handed through to an engine; ``owner`` is the key of what has the engine.

    Raises:
        ConfigError: the engine takes none, or not these.
    """
    kind = engine_kind(config)
    if config.extra and kind.check_extra is None:
        right = f"must be empty: an engine of {owner}.engine.kind={config.kind} takes no further arguments"
        raise ConfigError(f"{owner}.engine.extra", config.extra, right)
    if config.extra and kind.check_extra is not None:
        kind.check_extra(config.extra, owner)


def build_engine(
    config: EngineConfig,
    model: str,
    *,
    transfer: str | None = None,
    adapter: LoraConfig | None = None,
    remote: RemoteConfig | None = None,
    seed: int = 0,
    sleeps: bool = False,
) -> Engine:
    """The configured engine, not started yet.

    Args:
        model: directory of a Hugging Face model; unused by an engine that is a client of a server.
        transfer: how ``receive_weights`` will get new weights (a name in ``TRANSFERS``); None: the model is frozen.
        adapter: whose tensors alone these weights will be; None: they are all weights.
        remote: the server, for an engine that is a client of one.
        seed: of requests without a seed, where the engine can be seeded.
        sleeps: whether ``sleep`` will be called, where the kind can.

    Raises:
        ValueError: an unknown kind, or something that the kind cannot do.
    """
    kind = engine_kind(config)
    if transfer is not None and not kind.trains:
        raise ValueError(f"an engine of kind {config.kind} cannot be trained: use {' or '.join(training_kinds())}")
    if transfer is not None and transfer not in kind.transfers:
        raise ValueError(
            f"an engine of kind {config.kind} takes weights by {' or '.join(kind.transfers)}, not by {transfer!r}"
        )
    if not kind.local and remote is None:
        raise ValueError(f"an engine of kind {config.kind} needs the configuration of its server (remote)")
    if adapter is not None and (obstacle := adapter_obstacle(config, transfer, adapter)):
        raise ValueError(obstacle)
    return kind.build(EngineRequest(config, model, transfer, adapter, remote, seed, sleeps))


def adapter_obstacle(config: EngineConfig, transfer: str | None, adapter: LoraConfig) -> str:
    """Why the engine cannot take this adapter's tensors by ``transfer``, as a clause; empty where it can."""
    kind = engine_kind(config)
    if transfer not in kind.adapter_transfers:
        by = f"takes adapters by {' or '.join(kind.adapter_transfers)}" if kind.adapter_transfers else "takes none"
        return f"an engine of kind {config.kind} {by}"
    if adapter.dora and not kind.dora:
        return f"an engine of kind {config.kind} takes no DoRA adapters"
    if kind.adapter_rank and adapter.rank > kind.adapter_rank:
        return f"an engine of kind {config.kind} takes adapters up to rank {kind.adapter_rank}"
    return ""
