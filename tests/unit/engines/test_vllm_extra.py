"""Arguments that are handed through to vLLM are held to its own argument class, at no cost where there are none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, Qwen3MoeConfig

from tests.learner_configs import lora
from tests.tiny import engine_config
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.identity import identity
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines import vllm_extra
from tracelift_ray.engines.kinds import check_extra
from tracelift_ray.engines.vllm_arguments import engine_arguments

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("extra", "key", "right"),
    [
        ({"blok_size": 32}, "planner.engine.extra.blok_size", "did you mean block_size"),
        ({"zzz": 1}, "planner.engine.extra.zzz", "no engine argument of vLLM; `vllm serve --help` lists them"),
        ({"max_model_len": 9}, "planner.engine.extra.max_model_len", "use planner.engine.max_model_len"),
        (
            {"enable_prefix_caching": True},
            "planner.engine.extra.enable_prefix_caching",
            "planner.engine.prefix_caching",
        ),
        ({"model": "m"}, "planner.engine.extra.model", "use planner.model"),
        ({"seed": 3}, "planner.engine.extra.seed", "use seed"),
        ({"logprobs_mode": "raw_logits"}, "planner.engine.extra.logprobs_mode", "cannot be set: log-probs"),
    ],
)
def test_a_name_that_cannot_be_given_is_refused_with_what_would_be_right(extra: dict, key: str, right: str) -> None:
    with pytest.raises(ConfigError, match=right) as caught:
        check_extra(engine_config("vllm", extra=extra), "planner")
    assert caught.value.key == key and "\n" not in str(caught.value)


def test_an_engine_without_arguments_of_that_kind_takes_none() -> None:
    with pytest.raises(ConfigError, match=r"must be empty: an engine of .*kind=transformers takes no"):
        check_extra(engine_config("transformers", extra={"block_size": 32}), "executor")


def test_a_value_that_vllm_refuses_is_one_line(
    run_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def elsewhere(extra: dict[str, Any]) -> tuple[str, str] | None:
        asked.append(dict(extra))
        return ("block_size", "Input should be a valid integer") if extra["block_size"] == "x" else None

    monkeypatch.setattr(vllm_extra, "_wrong_value_elsewhere", elsewhere)
    run = run_config("+executor.engine.extra={block_size:32,offload_params:[gate]}")
    assert run.executor.engine.extra == {"block_size": 32, "offload_params": ["gate"]} == asked[0]
    with pytest.raises(ConfigError) as caught:
        run_config("+executor.engine.extra.block_size=x")
    assert str(caught.value) == "executor.engine.extra.block_size=x: vLLM refuses it: Input should be a valid integer"


def test_another_process_looks_at_values() -> None:
    assert vllm_extra._wrong_value_elsewhere({}) is None


def test_names_are_checked_without_importing_vllm_or_torch() -> None:
    code = (
        "import sys\n"
        "from tracelift_ray.engines.vllm_extra import argument_names\n"
        "assert {'block_size', 'enable_log_requests'} <= set(argument_names())\n"
        "sys.exit(', '.join({'torch', 'vllm'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_set_or_fixed_is_an_argument_of_the_pinned_vllm() -> None:
    assert {*vllm_extra.SETTINGS, *vllm_extra.FIXED} <= set(vllm_extra.argument_names())


def test_results_depend_on_further_arguments_and_not_on_there_being_none() -> None:
    assert "extra" not in identity(engine_config("vllm"))
    assert identity(engine_config("vllm", extra={"quantization": "fp8"}))["extra"] == {"quantization": "fp8"}


def test_adapters_for_a_model_with_experts_are_refused_on_cpus(tmp_path):
    Qwen3MoeConfig(num_experts=4).save_pretrained(tmp_path / "experts")
    LlamaConfig().save_pretrained(tmp_path / "dense")
    common = {"transfer": None, "seed": 0, "sleeps": False, "adapter": lora(rank=9)}
    with pytest.raises(ValueError, match=r"model with experts, .*: use learner\.lora\.transfer=merged"):
        engine_arguments(engine_config("vllm"), str(tmp_path / "experts"), **common)
    arguments = engine_arguments(engine_config("vllm"), str(tmp_path / "dense"), **common)
    assert (arguments["enable_lora"], arguments["max_lora_rank"]) == (True, 16)
