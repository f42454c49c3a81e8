"""What a result depends on: the fields of a configuration that decide a verdict, or what a model writes.

Keys of caches and comparisons of evaluations are made of these. Every field counts unless it stands in
``WITHOUT_EFFECT`` with the reason, so that a field added later counts from the start.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from tracelift_ray.config.models import EngineConfig, RemoteConfig
from tracelift_ray.config.schema import CodeServiceConfig, SandboxConfig, VerifierConfig

#: Fields that do not count, by configuration, and why.
WITHOUT_EFFECT: dict[type, dict[str, str]] = {
    SandboxConfig: {
        "slots": "how many programs run at a time; time limits allow for a busy machine",
        "cores": "where programs run",
    },
    CodeServiceConfig: {
        "concurrency": "how many programs run at a time",
        "timeout_s": "a late answer is no verdict",
        "retries": "a failed request is no verdict",
    },
    VerifierConfig: {
        "pool": "how many artifacts are checked at a time, and how long for",
    },
    EngineConfig: {
        "max_model_len": "a request that does not fit is refused, not cut",
        "tensor_parallel_size": "changes rounding only",
        "gpu_memory_utilization": "size of the cache",
        "kv_cache_gib": "size of the cache",
        "max_num_seqs": "how many requests run at a time",
        "enforce_eager": "speed",
        "prefix_caching": "speed",
        "startup_s": "a deadline",
    },
    RemoteConfig: {
        "api_key_env": "who asks",
        "concurrency": "how many requests run at a time",
        "timeout_s": "a late answer is none",
        "retries": "a failed request has no answer",
    },
}


def identity(config: Any) -> dict[str, Any]:
    """The fields of a configuration that results depend on, as plain JSON values; an empty mapping says nothing.

    Raises:
        KeyError: a class of which ``WITHOUT_EFFECT`` says nothing.
    """
    ignored = WITHOUT_EFFECT[type(config)]
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in ignored}
    return {name: _plain(value) for name, value in values.items() if value != {}}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return identity(value)
    return list(value) if isinstance(value, tuple) else value
