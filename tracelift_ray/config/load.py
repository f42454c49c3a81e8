"""From a composed Hydra configuration to frozen dataclasses, strictly and once.

Unknown keys, missing values, wrong types and values outside the rules of a type raise ``ConfigError`` with the full
dotted key, the value and what would be right; nothing else in the project reads a raw configuration. Importing this
module registers the resolvers that ``conf/`` uses.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.rules import OneOf, either

__all__ = ["ConfigError", "plain_config", "resolved_values", "to_dataclass"]

T = TypeVar("T")
_MISSING = "???"
_MAX_VARIANT = 100


def to_dataclass(cls: type[T], cfg: DictConfig | Mapping[str, Any], *, key: str = "") -> T:
    """Convert any part of a configuration into a frozen dataclass of scalars, tuples, dicts and such dataclasses.

    Fields may be a ``Literal`` or ``Annotated`` with the rules of ``rules.py``.

    Args:
        cls: the dataclass; every field is required.
        cfg: the part of the configuration.
        key: its dotted key, for messages.

    Raises:
        ConfigError: an unknown key, a missing value, a wrong type or a broken rule.
    """
    values = resolved_values(cfg) if isinstance(cfg, DictConfig) else cfg
    return _dataclass(cls, values, key)


def plain_config(config: Any) -> dict[str, Any]:
    """A dataclass of settings as plain containers, from which ``to_dataclass`` makes it again."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def resolved_values(cfg: DictConfig) -> dict[str, Any]:
    """A composed configuration as plain containers. Raises ConfigError for what cannot be resolved."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except InterpolationToMissingValueError as error:
        wanted = re.search(r"Missing mandatory value: (\S+)", str(error))
        raise _needed(wanted.group(1) if wanted else str(error.full_key)) from error
    except OmegaConfBaseException as error:
        reason = str(error.msg or error).splitlines()[0]
        raise ConfigError(str(error.full_key), ConfigError.MISSING, f"cannot be resolved: {reason}") from error
    if not isinstance(values, dict):
        raise ConfigError("", values, "must be a mapping of keys to values")
    return {str(key): value for key, value in values.items()}


def _needed(key: str) -> ConfigError:
    return ConfigError(key, ConfigError.MISSING, f"is needed and has no default; give {key}=…")


def _dataclass(cls: type[T], values: object, key: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(key, values, "must be a mapping of keys to values")
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise ConfigError(_join(key, name), ConfigError.MISSING, f"no such key; {nearest(str(name), names)}")
    hints = typing.get_type_hints(cls, include_extras=True)
    built = {}
    for name in names:
        path = _join(key, name)
        value = values.get(name, _MISSING)
        if isinstance(value, str) and value == _MISSING:
            raise _needed(path)
        built[name] = _value(hints[name], value, path)
    return cls(**built)


def _value(hint: Any, value: object, key: str, or_null: str = "") -> Any:
    """``value`` as the annotated type and within its rules, or ConfigError in plain words."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast("type[Any]", hint), value, key)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _value(inner, value, key, ", or null")
    if origin is typing.Annotated:
        return _ruled(arguments, value, key, or_null)
    if origin is typing.Literal:
        return _choice(arguments, value, key, or_null)
    if origin is tuple:
        return _tuple(arguments, value, key)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(key, value, "must be a mapping, such as {1: 0.5}")
        return {
            _value(arguments[0], name, f"the key {_join(key, name)}"): _value(arguments[1], item, _join(key, name))
            for name, item in value.items()
        }
    return _scalar(hint, value, key, or_null)


def _ruled(arguments: tuple[Any, ...], value: object, key: str, or_null: str) -> Any:
    """The value of an annotated type, held to the rules that the annotation carries."""
    for rule in arguments[1:]:
        if isinstance(rule, OneOf):
            for old, new in rule.renamed:
                if value == old:
                    raise ConfigError(key, value, f"is called {new} now")
            return value if rule.is_file(value) else _choice(rule.names, value, key, f"{rule.or_words}{or_null}")
    converted = _value(arguments[0], value, key, or_null)
    for rule in arguments[1:]:
        if not rule.holds(converted):
            raise ConfigError(key, value, f"{rule.right}{or_null}{'; ' if rule.why else ''}{rule.why}")
    return converted


def _choice(choices: tuple[Any, ...], value: object, key: str, or_null: str) -> Any:
    for choice in choices:
        if value == choice and isinstance(value, bool) is isinstance(choice, bool):
            return choice
    right = f"must be {either(choices)}{or_null}"
    words = [choice for choice in choices if isinstance(choice, str)]
    if isinstance(value, bool) and {"on", "off", "yes", "no"} & set(words):
        right += "; quote on, off, yes and no in YAML"
    close = difflib.get_close_matches(str(value), words, n=1, cutoff=0.6)
    raise ConfigError(key, value, f"{right}; did you mean {close[0]}?" if close else right)


def _tuple(arguments: tuple[Any, ...], value: object, key: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(key, value, f"must be a list; write {key}=[{value}]")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ConfigError(key, value, f"must be a list of {len(arguments)}")
    return tuple(_value(hint, item, f"{key}[{i}]") for i, (hint, item) in enumerate(zip(arguments, value, strict=True)))


def _scalar(hint: Any, value: object, key: str, or_null: str) -> Any:
    if isinstance(value, bool):
        if hint is bool:
            return value
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        if hint in (float, str):
            return hint(value)
        if hint is int and value == int(value):
            return int(value)
    elif isinstance(value, str) and hint is str:
        return value
    words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
    raise ConfigError(key, value, f"must be {words[hint]}{or_null}")


def nearest(name: str, names: Iterable[str]) -> str:
    """A clause that helps with a name that does not exist: the likeliest intended ones, or all."""
    names = list(names)
    if not names:
        return "none is allowed there"
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(sorted(names))}"


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _variant() -> str:
    """What tells this job of a multirun apart, fit for a directory name; empty outside a multirun."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    job = HydraConfig.get().job
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", job.override_dirname)
    if not text:
        return ""
    return f"-{text}" if len(text) <= _MAX_VARIANT else f"-{job.num}-{text[:_MAX_VARIANT]}"


def _demo_checkpoint(name: str) -> str:
    return str(Path(__file__).resolve().parents[1] / "demo" / "checkpoints" / name)


def _released_tie_table(num_samples: int) -> dict[int, float]:
    """The released trainer's table, written for K = 3; elsewhere the rule n / K holds for every n."""
    return {1: 0.5} if num_samples == 3 else {}


OmegaConf.register_new_resolver("released_tie_table", _released_tie_table, replace=True)
OmegaConf.register_new_resolver("variant", _variant, replace=True)
OmegaConf.register_new_resolver("demo_checkpoint", _demo_checkpoint, replace=True)
