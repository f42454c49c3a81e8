"""A warm start on a tiny model: it learns to close the tag, and its directory is one that a run can start from."""

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.hang import HANG_S
from tests.tiny import make_tiny_llama
from tracelift_ray.tasks.prompts import load_tokenizer
from tracelift_ray.training.supervised import warm_start
from tracelift_ray.training.supervised_settings import WarmStartConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> WarmStartConfig:
    folder = tmp_path_factory.mktemp("warm")
    lines = [{"question": f"Add {n} and 1.", "answer": f"Take {n}, then add 1.\n#### {n + 1}"} for n in range(1, 13)]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return WarmStartConfig(
        model=make_tiny_llama(folder / "model", seed=0),
        examples=str(folder / "train.jsonl"),
        format="gsm8k",
        output=str(folder / "planner"),
        prompt="demo",
        on_error="strict",
        max_examples=0,
        max_length=512,
        steps=120,
        batch_size=5,
        micro_batch_tokens=4096,
        lr=5e-3,
        warmup_steps=5,
        schedule="linear",
        weight_decay=0.0,
        grad_clip=1.0,
        dtype="float32",
        gradient_checkpointing=False,
        device="cpu",
        seed=1,
        log_every=10,
        eval_problems=4,
        eval_tokens=60,
    )


@pytest.fixture(scope="module")
def trained(config):
    said: list[str] = []
    return warm_start(config, said.append), said


def test_it_learns_to_close_the_tag_on_problems_it_has_not_seen(trained, config):
    result, said = trained
    assert result.closed_before == 0.0 and result.closed_after >= 0.75
    assert result.losses[-1] < 0.25 * result.losses[0]
    assert result.examples == 8 and len(result.losses) == config.steps
    assert any("step 60/120" in line and "tokens/s" in line and "left" in line for line in said)


def test_the_output_is_a_model_directory_with_its_tokenizer_and_nothing_else_is_left(trained, config, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(config.output)
    start = AutoModelForCausalLM.from_pretrained(config.model)
    assert all(not torch.equal(a, b) for a, b in zip(model.parameters(), start.parameters(), strict=True))
    assert load_tokenizer(config.output)("a </reasoning>").input_ids == (
        load_tokenizer(config.model)("a </reasoning>").input_ids
    )
    assert not list(tmp_path.parent.glob("**/.tmp-planner"))


def test_the_update_does_not_depend_on_the_micro_batch(config, tmp_path):
    results = []
    for tokens in (4096, 1):
        one = replace(
            config, steps=4, eval_problems=0, micro_batch_tokens=tokens, output=str(tmp_path / f"cut-{tokens}")
        )
        results.append(warm_start(one, lambda line: None))
    assert results[0].losses == pytest.approx(results[1].losses, rel=1e-4)


def test_a_file_that_does_not_fit_is_one_line_and_leaves_no_output(config, tmp_path):
    code = (
        "import pickle, resource, sys\n"
        "from tracelift_ray.training.supervised import warm_start\n"
        "from tracelift_ray.errors import InfrastructureError\n"
        "config = pickle.load(sys.stdin.buffer)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    warm_start(config, lambda line: None)\n"
        "except InfrastructureError as error:\n"
        "    sys.exit(f'{type(error).__name__} {error}')\n"
    )
    small = replace(config, steps=1, eval_problems=0, output=str(tmp_path / "planner"))
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(small), capture_output=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 1
    assert b"CheckpointError checkpoint: cannot write" in done.stderr, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_the_command_runs_and_wrong_values_are_one_line(config, tmp_path):
    def command(*overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "launch.warm_start", *overrides], capture_output=True, text=True, timeout=HANG_S
        )

    paths = [f"model={config.model}", f"examples={config.examples}", "prompt=demo", "device=cpu"]
    done = command(*paths, f"output={tmp_path / 'planner'}", "steps=2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 steps in" in done.stdout and (tmp_path / "planner" / "model.safetensors").is_file()
    again = command(*paths, f"output={tmp_path / 'planner'}", "steps=2")
    assert again.returncode == 2 and "must not exist yet" in again.stderr and again.stderr.count("\n") == 1
    chat = command(*paths, f"output={tmp_path / 'other'}", "prompt=chat")
    assert chat.returncode == 2 and "no chat template" in chat.stderr and chat.stderr.count("\n") == 1
