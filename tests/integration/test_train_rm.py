"""The command, from groups on disk to a reward model that the scorer loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rm_groups import adding_groups
from tests.tiny import make_tiny_llama
from tracelift_ray.config.schema import PoolConfig, ReasoningRmConfig
from tracelift_ray.data.groups import write_groups
from tracelift_ray.reasoning_rm.scorer import RubricScorer

ROOT = Path(__file__).resolve().parents[2]


def train_rm(*overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launch.train_rm", *overrides],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_reward_model_is_trained_to_tell_good_from_flawed_traces(tmp_path):
    backbone = make_tiny_llama(tmp_path / "backbone", tokenizer="word", hidden=32, spread=0.05)
    groups = adding_groups(160)
    write_groups(tmp_path / "groups.jsonl", groups)
    done = train_rm(
        f"model={backbone}",
        f"groups={tmp_path}/groups.jsonl",
        f"output={tmp_path}/rm",
        "epochs=3",
        "lr=3e-3",
        "head_lr=3e-3",
        "warmup_steps=3",
        "groups_per_forward=8",
    )
    assert done.returncode == 0, done.stderr
    assert "step 54/54  loss" in done.stdout and "pair accuracy" in done.stdout
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
        (("model=x", "groups=y", "output=z", "lr=-1"), "lr=-1.0: must be greater than 0"),
        (("model=x", "groups=/nowhere.jsonl", "output=z"), "/nowhere.jsonl does not exist"),
        (("model=x", "groups=y", "output=z", "epoch=3"), "epoch"),
    ],
)
def test_a_wrong_command_line_gets_one_line(overrides, told):
    done = train_rm(*overrides)
    assert done.returncode == 2 and told in done.stderr
    assert "Traceback" not in done.stderr
