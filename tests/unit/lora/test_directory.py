"""Adapters on disk are PEFT's, and those of another base model, or none, are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from launch.evaluate import main as evaluate
from launch.merge import main as merge
from launch.train import main as train
from tests.adapters import adapted_model
from tests.commands import run_command
from tests.configs import run_config
from tests.learner_configs import lora
from tests.tiny import make_tiny_llama
from tracelift_ray.lora.directory import BASE, CONFIG, WEIGHTS
from tracelift_ray.lora.layers import adapters_off, add_adapters
from tracelift_ray.training.export import adapters_of, gathered, save_adapter, weights_of

IDS = torch.arange(5, 45).reshape(2, 20)
CONFIGS = [
    lora(),
    lora(rslora=True, target_modules=("q_proj", "down_proj")),
    lora(dora=True),
    lora(target_modules=("embed_tokens", "v_proj")),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("base"), seed=0)


@pytest.fixture
def saved(base, tmp_path) -> Path:
    save_adapter(adapted_model(base, lora()), tmp_path / "planner", base, lora(), 1, write=True)
    return tmp_path / "planner"


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_peft_and_a_merge_compute_what_was_saved(base, tmp_path, config):
    model = adapted_model(base, config)
    save_adapter(model, tmp_path / "planner", base, config, 1, write=True)
    read = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(tmp_path / "planner")).eval()
    assert torch.allclose(logits(read), logits(model), atol=1e-5)
    done = run_command(merge, f"base={base}", f"adapter={tmp_path}/planner", f"out={tmp_path}/merged")
    assert (done.code, done.stderr) == (0, "")
    modes = {path.stat().st_mode for folder in ("planner", "merged") for path in (tmp_path / folder).iterdir()}
    assert len(modes) == 1, "weights may be read by all who may read the rest"
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.allclose(logits(merged), logits(model), atol=1e-4)
    assert not torch.allclose(logits(merged), logits(AutoModelForCausalLM.from_pretrained(base)), atol=1e-2)
    sent = dict(gathered(weights_of(model), 1))
    assert sent.keys() == dict(merged.named_parameters()).keys()
    assert all(torch.allclose(sent[name], tensor, atol=1e-6) for name, tensor in merged.named_parameters())


def test_with_adapters_off_a_model_is_its_base_and_gets_them_back(base):
    model = adapted_model(base)
    before = logits(model)
    with adapters_off(model):
        assert torch.equal(logits(model), logits(AutoModelForCausalLM.from_pretrained(base)))
    assert torch.equal(logits(model), before)


def refused(base: str, adapter: Path, out: Path) -> str:
    done = run_command(merge, f"base={base}", f"adapter={adapter}", f"out={out}")
    assert done.code == 2 and done.stderr.count("\n") == 1
    return done.stderr


def test_what_cannot_be_merged_is_refused_in_one_line(base, saved, tmp_path):
    out = tmp_path / "out"
    assert "holds no adapter: adapter_config.json is missing" in refused(base, Path(base), out)
    other = make_tiny_llama(tmp_path / "other", seed=1)
    assert f"trained on other weights than those in {other}: on {base}" in refused(other, saved, out)
    narrow = make_tiny_llama(tmp_path / "narrow", hidden=32)
    assert "with 128 columns, but in" in refused(narrow, saved, out)
    shallow = make_tiny_llama(tmp_path / "shallow", layers=1)
    assert "adapts model.layers.1.mlp.down_proj, which is no layer of" in refused(shallow, saved, out)
    assert f"holds adapters, too; give the directory of the base model, {base}" in refused(str(saved), saved, out)
    (saved / WEIGHTS).write_bytes(b"\xff" * 40)
    assert "is no safetensors file" in refused(base, saved, out)
    (saved / WEIGHTS).unlink()
    assert "adapter_model.safetensors is missing" in refused(base, saved, out)
    assert not out.exists()


def test_adapters_of_another_tool_are_merged_without_a_fingerprint(base, saved, tmp_path):
    (saved / BASE).unlink()
    assert run_command(merge, f"base={base}", f"adapter={saved}", f"out={tmp_path}/out").code == 0
    fields = json.loads((saved / CONFIG).read_text())
    (saved / CONFIG).write_text(json.dumps(fields | {"target_modules": ["nothing"]}))
    assert "cannot be merged: " in refused(base, saved, tmp_path / "again")


def test_a_command_for_models_says_how_adapters_become_one(base, saved, tmp_path):
    line = f"python -m launch.merge base={base} adapter={saved} out={saved.parent}/merged"
    for done in (
        run_command(evaluate, "experiment=quickstart", f"checkpoint={saved}"),
        run_command(train, "experiment=quickstart", f"planner.model={saved}", f"runs_root={tmp_path}"),
    ):
        assert done.code == 2 and line in done.stderr and done.stderr.count("\n") == 1


def test_a_target_that_the_model_lacks_is_refused_before_anything_starts(base, tmp_path):
    target = "learner.lora.target_modules=[c_attn]"
    arguments = ("experiment=quickstart", "learner=lora", target, f"planner.model={base}", f"runs_root={tmp_path}")
    done = run_command(train, *arguments)
    assert done.code == 2 and done.stderr.count("\n") == 1
    assert "names c_attn, which is no layer of" in done.stderr and "it has down_proj, embed_tokens" in done.stderr


def test_the_adapters_of_a_small_model_are_a_few_hundredths_of_its_bytes():
    """The shape of SmolLM2-135M under ``learner=lora``."""
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    whole = sum(each.sources[0].numel() for each in weights_of(model))
    add_adapters(model, run_config("learner=lora").learner.lora, seed=0)
    assert whole == 134_515_008
    assert sum(each.sources[0].numel() for each in adapters_of(model)) < 0.03 * whole
