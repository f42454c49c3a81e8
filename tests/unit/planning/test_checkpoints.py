"""A model directory that an engine would refuse half a minute into a run is refused at once, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from launch import train_rm, warm_start
from tests.commands import run_command
from tests.unit.config.composed import make_model
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.checkpoints import check_checkpoint, check_generates, check_heads, check_length

Run = Callable[..., RunConfig]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def described(directory: Path, **config: Any) -> str:
    (make_model(directory) / "config.json").write_text(json.dumps(config))
    return str(directory)


def whole(size: int) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (whole(64)[:-1], "bytes; copy it again"),
        (whole(64)[:20], "no whole safetensors file"),
        (b"\x08\0\0\0\0\0\0\0no json!", "header that cannot be read"),
        (POINTER, "git lfs pull"),
    ],
)
def test_weights_that_are_not_whole_are_refused(tmp_path: Path, weights: bytes, says: str) -> None:
    model = make_model(tmp_path / "model")
    (model / "model.safetensors").write_bytes(weights)
    with pytest.raises(ConfigError) as refused:
        check_checkpoint("planner.model", str(model))
    assert "model.safetensors" in str(refused.value) and says in str(refused.value)
    (model / "model.safetensors").write_bytes(whole(64))
    check_checkpoint("planner.model", str(model))


def test_every_part_of_weights_in_parts_must_be_there(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=r"model-2\.safetensors, which is not there"):
        check_checkpoint("planner.model", str(model))


def test_a_kind_of_model_that_nothing_installed_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model_type 'llama9'"):
        check_checkpoint("executor.model", described(tmp_path / "new", model_type="llama9"))
    check_checkpoint("executor.model", described(tmp_path / "known", model_type="qwen2"))
    check_checkpoint("executor.model", described(tmp_path / "own", model_type="x", auto_map={"AutoConfig": "c.C"}))


def test_an_encoder_is_no_planner(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BertForMaskedLM, which does not continue a text"):
        check_generates("planner.model", described(tmp_path / "bert", architectures=["BertForMaskedLM"]))
    with pytest.raises(ConfigError, match="give a causal LM"):
        check_generates("planner.model", described(tmp_path / "t5", is_encoder_decoder=True))
    check_generates("planner.model", described(tmp_path / "llama", architectures=["LlamaForCausalLM"]))


@pytest.mark.parametrize(
    ("rope", "most"),
    [(None, 256), ({"rope_type": "linear", "factor": 4.0}, 1024), ({"rope_type": "llama3", "factor": 8.0}, 256)],
)
def test_no_sequence_is_longer_than_the_positions(tmp_path: Path, rope: dict[str, Any] | None, most: int) -> None:
    model = described(tmp_path / "m", max_position_embeddings=256, rope_parameters=rope)
    check_length("planner.engine.max_model_len", most, model)
    with pytest.raises(ConfigError, match=rf"max_model_len={most + 1}: must be at most {most}, the positions of"):
        check_length("planner.engine.max_model_len", most + 1, model)


def test_ranks_that_share_rows_divide_the_heads(tmp_path: Path) -> None:
    model = described(tmp_path / "m", num_attention_heads=12)
    check_heads("learner.sequence_parallel", 4, model)
    with pytest.raises(ConfigError, match="sequence_parallel=8: must divide the 12 attention heads of"):
        check_heads("learner.sequence_parallel", 8, model)


def test_the_name_of_a_model_on_a_hub_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"hf download Qwen/Qwen2\.5-0\.5B --local-dir DIR\) and give planner\.model"):
        check_checkpoint("planner.model", str(tmp_path / "Qwen/Qwen2.5-0.5B"))


def test_the_models_of_a_run_are_all_looked_at(run_config: Run, tmp_path: Path) -> None:
    model = described(tmp_path / "lm", architectures=["LlamaForCausalLM"], max_position_embeddings=64)
    for override, says in (
        (f"reasoning_rm.model={model}", "holds LlamaForCausalLM; must be a reward model made by"),
        (f"executor.model={model}", "executor.engine.max_model_len=2048: must be at most 64"),
        (f"planner.model={described(tmp_path / 'bert', architectures=['BertForMaskedLM'])}", "BertForMaskedLM"),
    ):
        with pytest.raises(ConfigError) as refused:
            run_config(override)
        assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("main", [warm_start.main, train_rm.main], ids=["warm_start", "train_rm"])
def test_commands_that_train_a_model_look_at_it_too(main: Callable[[], NoReturn], tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    (model / "model.safetensors").write_bytes(POINTER)
    done = run_command(main, f"model={model}", "examples=x" if main is warm_start.main else "groups=x", "output=y")
    assert done.code == 2 and "git lfs pull" in done.stderr and done.stderr.count("\n") == 1


def test_a_run_directory_that_cannot_be_written_is_refused(run_config: Run) -> None:
    with pytest.raises(ConfigError, match=r"^run_dir=/proc/runs: cannot be written \(/proc: "):
        run_config("run_dir=/proc/runs")
