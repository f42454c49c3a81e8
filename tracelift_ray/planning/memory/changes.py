"""The smallest change of a run's settings with which it fits, found by trying changes on the plan.

Promises: few settings are changed rather than many, each as little as will do, in the order in which they cost least.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines.kinds import engine_kind, is_remote
from tracelift_ray.planning.memory.holdings import engine_key, engine_of, judge_of
from tracelift_ray.planning.memory.shape import read_shape

#: At most this many settings are changed together.
MOST = 3


@dataclass(frozen=True)
class Setting:
    """Ways to change one setting, from the mildest to the one that frees most; each is (key, value) pairs."""

    ways: tuple[tuple[tuple[str, Any], ...], ...]


def smallest_change(config: RunConfig, pools: Collection[str], fits: Callable[[RunConfig], bool]) -> tuple[str, ...]:
    """``key=value`` for each setting of the smallest change with which the run fits; empty where none was found.

    Args:
        pools: whose settings may change.
    """
    settings = [setting for setting in _settings(config, pools) if setting.ways]
    for number in range(1, MOST + 1):
        for chosen in itertools.combinations(settings, number):
            keys = [key for setting in chosen for key, _ in setting.ways[-1]]
            if len(set(keys)) < len(keys):
                continue
            found = _mildest(config, chosen, fits)
            if found is not None:
                return tuple(f"{key}={_shown(value)}" for way in found for key, value in way)
    return ()


def _mildest(
    config: RunConfig, chosen: Sequence[Setting], fits: Callable[[RunConfig], bool]
) -> list[tuple[tuple[str, Any], ...]] | None:
    """The mildest ways of these settings that fit together; None where even the strongest do not."""

    def works(ways: Sequence[tuple[tuple[str, Any], ...]]) -> bool:
        return fits(changed(config, [pair for way in ways for pair in way]))

    ways = [setting.ways[-1] for setting in chosen]
    if not works(ways):
        if len(chosen) > 1:
            return None
        return next(([way] for way in chosen[0].ways if works([way])), None)
    for index, setting in enumerate(chosen):
        for way in setting.ways:
            if works([*ways[:index], way, *ways[index + 1 :]]):
                ways[index] = way
                break
    return ways


def changed(config: RunConfig, pairs: Sequence[tuple[str, Any]]) -> RunConfig:
    """The run with the fields of dotted keys replaced."""
    for key, value in pairs:
        config = _replaced(config, key.split("."), value)
    return config


def _replaced(section: Any, path: Sequence[str], value: Any) -> Any:
    inner = value if len(path) == 1 else _replaced(getattr(section, path[0]), path[1:], value)
    return replace(section, **{path[0]: inner})


def _settings(config: RunConfig, pools: Collection[str]) -> Iterator[Setting]:
    """What may be changed, in the order of what it costs."""
    engines = [pool for pool in pools if engine_of(config, pool) is not None]
    for pool in engines:
        yield from _engine_shares(config, pool)
    if "learner" in pools:
        yield from _learner_settings(config)
    if "reasoning_rm" in pools and judge_of(config) is None:
        least, now = config.reasoning_rm.max_length, config.reasoning_rm.max_batch_tokens
        yield Setting(tuple((("reasoning_rm.max_batch_tokens", tokens),) for tokens in _halves(now, least)))
    for pool in engines:
        yield from _parallel_sizes(config, pool)


def _learner_settings(config: RunConfig) -> Iterator[Setting]:
    learner, stage = config.learner, config.learner.zero_stage
    longest = config.planner.max_prompt_tokens + config.planner.sampling.max_new_tokens
    tokens = _halves(learner.micro_batch_tokens, longest)
    yield Setting(tuple((("learner.micro_batch_tokens", each),) for each in tokens))
    if not learner.gradient_checkpointing:
        yield Setting(((("learner.gradient_checkpointing", True),),))
    if learner.num_workers > 1:
        yield Setting(tuple((("learner.zero_stage", each),) for each in range(stage + 1, 4)))
    if learner.gpus_per_worker > 0:
        divided: tuple[tuple[str, Any], ...] = () if stage else (("learner.zero_stage", 1),)
        if not learner.offload_optimizer:
            yield Setting(((*divided, ("learner.offload_optimizer", True)),))
        if not learner.offload_parameters:
            yield Setting(((("learner.zero_stage", 3), ("learner.offload_parameters", True)),))


def _engine_shares(config: RunConfig, pool: str) -> Iterator[Setting]:
    found = engine_of(config, pool)
    assert found is not None
    engine, key, gpus = found[1], engine_key(pool), getattr(config, pool).pool.gpus_per_worker > 0
    if is_remote(engine):
        return
    now = engine.gpu_memory_utilization
    if gpus:
        lower = [round(share / 20, 2) for share in range(19, 0, -1) if share / 20 < now]
        higher = [round(share / 20, 2) for share in range(1, 20) if share / 20 > now]
        yield Setting(tuple(((f"{key}.gpu_memory_utilization", share),) for share in lower))
        yield Setting(tuple(((f"{key}.gpu_memory_utilization", share),) for share in higher))
    else:
        caches = [engine.kv_cache_gib * factor for factor in (2, 4, 8, 0.5, 0.25)]
        yield Setting(tuple(((f"{key}.kv_cache_gib", cache),) for cache in caches))
    yield Setting(tuple(((f"{key}.max_num_seqs", each),) for each in _halves(engine.max_num_seqs, 8)))


def _parallel_sizes(config: RunConfig, pool: str) -> Iterator[Setting]:
    found = engine_of(config, pool)
    assert found is not None
    model, engine, _ = found
    gpus = getattr(config, pool).pool.gpus_per_worker
    if gpus >= 1 and engine_kind(engine).tensor_parallel:
        shape = read_shape(model)
        divides = [size for size in (2, 4, 8) if shape.query // shape.head % size == 0]
        sizes = [size for size in divides if size > engine.tensor_parallel_size]
        keys = (f"{engine_key(pool)}.tensor_parallel_size", f"{pool}.pool.gpus_per_worker")
        yield Setting(tuple(((keys[0], size), (keys[1], float(size))) for size in sizes))


def _halves(now: int, least: int) -> list[int]:
    """``now`` halved again and again, down to ``least``."""
    values = []
    while now > least:
        now = max(least, now // 2)
        values.append(now)
    return values


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
