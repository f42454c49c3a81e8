"""Every key of a run's settings says what another value means to a run that goes on; a new key has to be classified."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from tracelift_ray.config.continuing import AT_ONE_PLACE, TABLE, Change, changes_of
from tracelift_ray.config.described import field_types
from tracelift_ray.config.identity import WITHOUT_EFFECT
from tracelift_ray.config.schema import RunConfig


def values_of(cls: Any) -> set[str]:
    """Fields that hold a value, or a part that may be absent."""
    hints = typing.get_type_hints(cls)
    return {name for name, hint in hints.items() if not dataclasses.is_dataclass(hint)}


def test_every_key_of_the_schema_is_classified_once() -> None:
    found = dict(changes_of())
    parts = {key.rpartition(".")[0] for key in field_types(RunConfig)}
    assert {key for key in field_types(RunConfig) if key not in parts} <= set(found)
    for cls, row in TABLE.items():
        names = [name for some in row.values() for name in some.split()]
        assert sorted(names) == sorted(values_of(cls)), cls.__name__
    assert not TABLE.keys() & WITHOUT_EFFECT.keys() and AT_ONE_PLACE.keys() <= found.keys()


def test_what_is_the_run_and_what_is_not() -> None:
    found = dict(changes_of())
    for key in ("seed", "reward.arm", "algorithm.group_size", "executor.engine.dtype", "sandbox.cpu_s"):
        assert found[key] is Change.ANOTHER_RUN, key
    for key in ("learner.lr", "total_steps", "planner.pool.workers", "executor.engine.kv_cache_gib", "tracking.wandb"):
        assert found[key] is Change.MEANT, key
    assert found["planner.model"] is found["executor.model"] is Change.MODEL
    assert found["data.train"] is Change.FILES
