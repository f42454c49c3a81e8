"""The command, from groups on disk to a reward model that the scorer loads; killed, and on several ranks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.hang import HANG_S
from tests.rm_groups import adding_groups
from tests.tiny import make_tiny_llama
from tracelift_ray.config.models import PoolConfig, ReasoningRmConfig
from tracelift_ray.data.rubric_records import write_rubric_records
from tracelift_ray.reasoning_rm.scoring.local import RubricScorer

ROOT = Path(__file__).resolve().parents[2]
PLANNER = ROOT / "tracelift_ray/demo/checkpoints/planner"


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
#: A short run with everything in it: adapters, all terms of the loss, an evaluation and a smaller last step.
SHORT = ("max_steps=8", "groups_per_step=3", "lr=3e-3", "head_lr=3e-3", "warmup_steps=2", "eval_every=4", "lora.rank=4")
SHORT += (
    "lora.layers=1",
    "loss.prefix=0.5",
    "loss.negative_ranking=0.1",
    "micro_batch_tokens=150",
    "dropout=0.0",
    "heldout_fraction=0.3",
)


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "launch.train_rm", *overrides]


def train_rm(*overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*overrides), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG_S, check=False
    )


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Overrides that name a backbone and groups, for a run of ``SHORT``."""
    folder = tmp_path_factory.mktemp("short")
    backbone = make_tiny_llama(folder / "backbone", tokenizer="word", hidden=32, spread=0.05)
    write_rubric_records(folder / "groups.jsonl", adding_groups(20))
    return (f"model={backbone}", f"groups={folder}/groups.jsonl")


@pytest.fixture(scope="module")
def whole_run(paths, tmp_path_factory):
    """The directory of an uninterrupted run on one rank."""
    output = tmp_path_factory.mktemp("whole") / "rm"
    done = train_rm(*paths, *SHORT, f"output={output}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "gcc" not in done.stderr
    return output


def results(output: Path) -> tuple[list[float], dict]:
    return json.loads((output / "metrics.json").read_text())["losses"], load_file(output / "model.safetensors")


def test_a_run_that_is_killed_and_started_again_ends_as_if_it_had_not_been(paths, whole_run, tmp_path):
    overrides = (*paths, *SHORT, f"output={tmp_path}/rm", "save_every=1")
    killed = subprocess.Popen(command(*overrides), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    checkpoint = tmp_path / "rm.work" / "checkpoints" / "step-000005"
    deadline = time.monotonic() + HANG_S
    while not checkpoint.exists():
        assert killed.poll() is None and time.monotonic() < deadline, (
            "the run made no checkpoint of step 5 to kill it at"
        )
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=HANG_S)
    assert not (tmp_path / "rm").exists()
    done = train_rm(*overrides)
    assert done.returncode == 0, done.stderr
    assert "going on after step" in done.stdout
    losses, weights = results(tmp_path / "rm")
    expected_losses, expected_weights = results(whole_run)
    assert losses == expected_losses
    assert all(torch.equal(tensor, expected_weights[name]) for name, tensor in weights.items())
    assert not (tmp_path / "rm.work" / "checkpoints").exists()


def test_two_ranks_that_divide_the_weights_train_the_model_that_one_trains(paths, whole_run, tmp_path):
    done = train_rm(*paths, *SHORT, f"output={tmp_path}/rm", "ranks.workers=2", "ranks.zero_stage=3")
    assert done.returncode == 0, done.stderr
    losses, weights = results(tmp_path / "rm")
    expected_losses, expected_weights = results(whole_run)
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected_weights[name], rtol=1e-2, atol=1e-4)


def test_a_reward_model_is_trained_to_tell_good_from_flawed_traces(tmp_path):
    backbone = make_tiny_llama(tmp_path / "backbone", tokenizer="word", hidden=32, spread=0.05)
    groups = adding_groups(160)
    write_rubric_records(tmp_path / "groups.jsonl", groups)
    done = train_rm(
        f"model={backbone}",
        f"groups={tmp_path}/groups.jsonl",
        f"output={tmp_path}/rm",
        "epochs=3",
        "lr=3e-3",
        "head_lr=3e-3",
        "warmup_steps=3",
    )
    assert done.returncode == 0, done.stderr
    assert "step 54/54  loss" in done.stdout and "pair accuracy" in done.stdout
    assert (tmp_path / "rm" / "rm.png").stat().st_size > 10_000
    record = json.loads((tmp_path / "rm" / "metrics.json").read_text())
    assert sum(record["losses"][-5:]) < 0.5 * sum(record["losses"][:5])
    assert record["heldout"]["pair_accuracy"] > 0.9 and record["heldout"]["group_accuracy"] > 0.8
    assert record["heldout"]["total_mae"] < 0.2

    scorer = RubricScorer(
        ReasoningRmConfig(
            "model", str(tmp_path / "rm"), "float32", 512, 4096, None, None, PoolConfig(1, 1.0, 0.0, 8, 60.0, 0)
        )
    )
    unseen = adding_groups(20, seed=99)
    for group in unseen:
        good, *bad = scorer.score([(group.problem, t.reasoning) for t in (*group.positives, *group.negatives)])
        assert good.score > sum(score.score for score in bad) / len(bad)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("model=x", "groups=y"), "output: is needed"),
        (("model=x", "groups=y", "output=z", "lr=-1"), "lr=-1: must be above 0"),
        ((f"model={PLANNER}", "groups=/nowhere.jsonl", "output=z"), "groups=/nowhere.jsonl: is no file"),
        (("model=x", "groups=y", "output=z", "epoch=3"), "epoch"),
    ],
)
def test_a_wrong_command_line_gets_one_line(overrides, told):
    done = train_rm(*overrides)
    assert done.returncode == 2 and told in done.stderr
    assert "Traceback" not in done.stderr
