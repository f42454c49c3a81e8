"""Engine arguments that a user hands through to vLLM (``engine.extra``), held to vLLM's own argument class.

Names are read from the source of ``AsyncEngineArgs``, which takes milliseconds; an unknown one, or one that the project
sets itself, is refused at once. Values are held to the types that the class declares. That needs vLLM, which takes
seconds to import, so it is done in another process, and only where there are values.
"""

from __future__ import annotations

import ast
import difflib
import json
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any, get_args

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import nearest
from tracelift_ray.errors import InfrastructureError

#: Arguments with a setting of the project; ``{owner}`` is the part of the configuration that has the engine.
SETTINGS = {
    "model": "{owner}.model",
    "dtype": "{owner}.engine.dtype",
    "max_model_len": "{owner}.engine.max_model_len",
    "tensor_parallel_size": "{owner}.engine.tensor_parallel_size",
    "max_num_seqs": "{owner}.engine.max_num_seqs",
    "enforce_eager": "{owner}.engine.enforce_eager",
    "enable_prefix_caching": "{owner}.engine.prefix_caching",
    "gpu_memory_utilization": "{owner}.engine.gpu_memory_utilization",
    "kv_cache_memory_bytes": "{owner}.engine.kv_cache_gib",
    "enable_sleep_mode": "cluster.share_gpus",
    "weight_transfer_config": "stream.weight_transfer",
    "seed": "seed",
}
#: Arguments that must have the value that they have, and why.
FIXED = {
    "logprobs_mode": "log-probs are of the distribution that was sampled from",
    "worker_extension_cls": "it takes the learner's weights",
    "distributed_executor_backend": "an engine's workers are processes of its actor",
    "pipeline_parallel_size": "an actor has GPUs for tensor_parallel_size",
    "data_parallel_size": "a pool has an engine for each of its workers",
    "disable_log_stats": "pools report for the run",
    "use_tqdm_on_load": "nobody watches an actor",
}
#: Seconds for vLLM to look at values.
CHECK_S = 300.0


def check_extra(extra: Mapping[str, Any], owner: str) -> None:
    """Refuse arguments that vLLM's engine does not have, or not with such a value.

    Args:
        owner: key of the part of the configuration that has the engine, such as ``planner``.

    Raises:
        ConfigError: the first that is wrong.
    """
    key = f"{owner}.engine.extra"
    names = argument_names()
    for name, value in extra.items():
        if name in SETTINGS:
            setting = SETTINGS[name].format(owner=owner)
            raise ConfigError(f"{key}.{name}", value, f"has a setting of its own; use {setting}")
        if name in FIXED:
            raise ConfigError(f"{key}.{name}", value, f"cannot be set: {FIXED[name]}")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(close)}?" if close else "`vllm serve --help` lists them, with dashes"
            raise ConfigError(f"{key}.{name}", ConfigError.MISSING, f"no engine argument of vLLM; {hint}")
    wrong = _wrong_value_elsewhere(extra)
    if wrong:
        raise ConfigError(f"{key}.{wrong[0]}", extra[wrong[0]], f"vLLM refuses it: {wrong[1]}")


@cache
def argument_names() -> tuple[str, ...]:
    """The fields of vLLM's ``AsyncEngineArgs``, read without importing it."""
    spec = find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("engine.extra", ConfigError.MISSING, "vLLM is not installed here; leave it empty")
    source = Path(spec.submodule_search_locations[0]) / "engine" / "arg_utils.py"
    classes = {node.name: node for node in ast.parse(source.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}
    return tuple(
        field.target.id
        for name in ("EngineArgs", "AsyncEngineArgs")
        for field in classes[name].body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    )


def _wrong_value_elsewhere(extra: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and reason of the first value that vLLM refuses, found by a process that imports vLLM; None: there is none.

    Raises:
        InfrastructureError: vLLM cannot be imported.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tracelift_ray.engines.vllm_extra"],
            input=json.dumps(dict(extra)),
            capture_output=True,
            text=True,
            timeout=CHECK_S,
            cwd=Path(__file__).parents[2],
        )
    except subprocess.TimeoutExpired:
        raise InfrastructureError("vllm", f"was not imported within {CHECK_S:g} s to look at engine.extra") from None
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise InfrastructureError("vllm", f"could not look at engine.extra: {last}")
    wrong = json.loads(done.stdout.splitlines()[-1])
    return tuple(wrong) if wrong else None


def wrong_value(extra: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and reason of the first value that vLLM refuses; None: there is none. Imports vLLM."""
    for name, value in extra.items():
        try:
            converted({name: value})
        except ValueError as error:
            return name, str(error)
    return None


def converted(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as values of the types that vLLM declares: members of enums, its own dataclasses, sets.

    Raises:
        ValueError: a value does not fit its type; the message is one line.
    """
    return {name: _converted(name, value) for name, value in extra.items()}


def _converted(name: str, value: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    hint = _declared(name)
    choices = _enum(hint)
    if isinstance(value, str) and value in choices:
        return choices[value]
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a type that has such rules itself
        adapter = TypeAdapter(hint)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if choices and isinstance(value, str):
            raise ValueError(nearest(value, choices)) from None
        first = error.errors()[0]
        inside = ".".join(str(part) for part in first["loc"] if isinstance(value, dict) and part in value)
        raise ValueError(shorten(f"{inside and inside + ': '}{first['msg']}", 200, placeholder=" …")) from None


def _enum(hint: Any) -> Mapping[str, Any]:
    """The members that a type allows, by the names that vLLM's command line takes; empty where it has none."""
    for each in (hint, *get_args(hint)):
        if isinstance(each, type) and issubclass(each, Enum):
            return each.__members__
    return {}


def _declared(name: str) -> Any:
    """The type of an argument. One that vLLM itself imports for type checkers alone allows anything."""
    from vllm.engine import arg_utils

    hint = arg_utils.AsyncEngineArgs.__dataclass_fields__[name].type
    try:
        return eval(hint, vars(arg_utils)) if isinstance(hint, str) else hint  # the source is vLLM's
    except NameError:
        return Any


if __name__ == "__main__":
    print(json.dumps(wrong_value(json.load(sys.stdin))))
