"""Whether a run may go on from a checkpoint under its configuration: what has changed since, and what must not.

``config.continuing`` says of every key what another value means. The run that saved the checkpoint is known by the
``config.yaml`` of its directory, also one that an older version wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tracelift_ray.config.continuing import Change, changes_of
from tracelift_ray.config.described import field_types
from tracelift_ray.config.errors import ConfigError, shown
from tracelift_ray.config.load import plain_config
from tracelift_ray.config.rules import OneOf
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import DataError
from tracelift_ray.lora.directory import base_fingerprint

_ABSENT = object()


@dataclass(frozen=True)
class Changed:
    """A key whose value differs from the one that the run was saved under."""

    key: str
    before: Any
    now: Any
    change: Change

    def __str__(self) -> str:
        return f"{self.key}={shown(self.now)} (was {shown(self.before)})"


def notes_on_resume(run: RunConfig, checkpoint: Path) -> tuple[str, ...]:
    """What has changed since ``checkpoint`` was saved, in lines for people.

    Raises:
        ConfigError: something has that makes it another run; names the key, both values and the ways out.
    """
    saved = checkpoint.parent.parent / "config.yaml"
    if not saved.is_file():
        return (f"{saved} is not there, so it is not known whether {checkpoint.name} was saved under these settings",)
    found = list(changes(_read(saved), run))
    for each in found:
        if each.change is not Change.MEANT:
            raise ConfigError(each.key, each.now, _refusal(run, checkpoint, each))
    return (f"going on with changed settings: {', '.join(map(str, found))}",) if found else ()


def changes(saved: Mapping[str, Any], run: RunConfig) -> Iterator[Changed]:
    """The keys that differ in a way that counts, in the order of the schema; one that ``saved`` lacks is new since."""
    now, types = _plain(run), field_types(RunConfig)
    for key, change in changes_of():
        before, value = _at(saved, key), _at(now, key)
        if change is Change.OF_A_START or _ABSENT in (before, value):
            continue
        before = _renamed(types[key], before)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and _has_fields(types, key):
            continue  # a part that was there and is: its fields speak
        if before != value and not _moved(change, before, value):
            yield Changed(key, before, value, change)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        saved = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(saved, Mapping):
        raise DataError(f"{path} is no configuration of a training run")
    return saved


def _refusal(run: RunConfig, checkpoint: Path, changed: Changed) -> str:
    planner, own = checkpoint / "planner", Path(run.run_dir).resolve() == checkpoint.parent.parent.resolve()
    ways = "resume=never starts one"
    if own:
        ways = "name=OTHER (or another run_dir) starts one beside this, resume=never one in its place"
    if (planner / "config.json").is_file():
        ways += f"; planner.model={planner} gives it these weights"
    return f"{checkpoint} was saved with {shown(changed.before)}, and another value makes another run: {ways}"


def _plain(run: RunConfig) -> Mapping[str, Any]:
    """The configuration as ``config.yaml`` would give it back."""
    text = yaml.safe_dump(plain_config(run), sort_keys=False, allow_unicode=True)
    values: Mapping[str, Any] = yaml.safe_load(text)
    return values


def _at(values: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return _ABSENT
        values = values[name]
    return values


def _has_fields(types: Mapping[str, Any], key: str) -> bool:
    return any(name.startswith(f"{key}.") for name in types)


def _renamed(hint: Any, value: Any) -> Any:
    """A name of an earlier version as it is now."""
    for rule in getattr(hint, "__metadata__", ()):
        if isinstance(rule, OneOf):
            return dict(rule.renamed).get(value, value)
    return value


def _moved(change: Change, before: Any, now: Any) -> bool:
    """Whether paths differ while what they name is the same, as far as it can be known."""
    if change is Change.MODEL:
        return bool(before and now) and _same(Path(before), Path(now), _model)
    if change is Change.FILES:
        pairs = [(before, now)] if isinstance(now, str) else list(zip(before, now, strict=False))
        same_count = isinstance(now, str) or len(before) == len(now)
        return same_count and all(old == new or _same(Path(old), Path(new), _bytes) for old, new in pairs)
    return False


def _same(before: Path, now: Path, content: Any) -> bool:
    """Whether two places hold the same. Where the first is gone, as a job's copy of the code is, its name decides."""
    if not now.exists():
        return False
    if not before.exists():
        return before.name == now.name
    return bool(content(before) == content(now))


def _bytes(path: Path) -> bytes | str:
    """What a file holds; of a directory, which a data set may be, its own path."""
    return path.read_bytes() if path.is_file() else str(path.resolve())


def _model(directory: Path) -> str | None:
    try:
        return base_fingerprint(directory)
    except DataError:
        return None
