"""The loop of a training: which weights it keeps, when it stops early, what it writes and goes on from.

The rank is a stand-in whose held-out accuracy follows a script; the work directory and the process group are real.
"""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from tests.rm_groups import adding_groups, training_config
from tests.tiny import make_tiny_llama
from tracelift_ray.data.rubric_records import write_rubric_records
from tracelift_ray.reasoning_rm.model.batching import InputEncoder
from tracelift_ray.reasoning_rm.training.data import encode_groups
from tracelift_ray.reasoning_rm.training.metrics import ScoredTrace
from tracelift_ray.reasoning_rm.training.trainer import RmTrainer
from tracelift_ray.reasoning_rm.training.work import WorkDirectory, best_weights, progress_of
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.tracking.alive import Heartbeat


class ScriptedRank:
    """Steps and evaluations of a rank: at evaluation i, ``right[i]`` of the held-out groups are in the right order."""

    def __init__(self, right):
        self.place = SimpleNamespace(rank=0, world_size=1)
        self.right = list(right)
        self.steps = 0
        self.loaded = False

    def step(self, batch, rate_share):
        self.steps += 1
        return {"loss": 1.0 / self.steps, "ranking": 0.5, "rate": rate_share}

    def score(self, groups, watch):
        right = self.right.pop(0)
        return [
            [
                ScoredTrace(
                    t.labels, t.labels, t.total, t.total, float((row == 0) == (place < right)), t.length, t.kind
                )
                for row, t in enumerate(traces)
            ]
            for place, traces in enumerate(groups)
        ]

    def trained_weights(self):
        return {"weight": torch.tensor([float(self.steps)])}

    def save_state(self, directory):
        (directory / "state").write_text(str(self.steps))

    def load_state(self, directory):
        self.steps, self.loaded = int((directory / "state").read_text()), True


@pytest.fixture(scope="module", autouse=True)
def process_group(tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("words"), tokenizer="word", hidden=8, layers=1)


@pytest.fixture
def config(words, tmp_path):
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(4))
    config = training_config(words, str(tmp_path / "groups.jsonl"), str(tmp_path / "rm"))
    return dataclasses.replace(config, max_steps=10, groups_per_step=2, eval_every=2, patience=2)


def run(config, rank, lines=None):
    encoder = InputEncoder.load(config.model, config.max_length, show_problem=config.show_problem)
    groups, held = (encode_groups(adding_groups(4, seed=seed), encoder, 0) for seed in (0, 1))
    beat = Heartbeat([].append if lines is None else lines.append, "loading")
    loop = RmTrainer(config, rank, groups, held, MathTask.dimensions, beat)
    loop.resume()
    loop.finish_steps()
    loop.close(0)
    return WorkDirectory(config)


def test_the_weights_of_the_best_evaluation_are_kept_and_it_stops_when_none_is_better(config):
    rank, lines = ScriptedRank([1, 3, 2, 3, 4]), []
    work = run(config, rank, lines)
    progress = progress_of(work.newest())
    assert (progress.step, progress.best_step, progress.worse_since, progress.stopped) == (8, 4, 2, True)
    assert progress.best[0] == 0.75
    assert best_weights(work.newest())["weight"].item() == 4.0
    assert "no better evaluation for 2: stopped early" in lines
    again = ScriptedRank([])
    run(config, again)
    assert again.loaded and again.steps == 8  # a run that has stopped makes no further step


def test_without_patience_it_goes_on_to_the_end(config):
    rank = ScriptedRank([4, 1, 1, 1, 1])
    progress = progress_of(run(dataclasses.replace(config, patience=0), rank).newest())
    assert (progress.step, progress.best_step, progress.stopped) == (10, 2, False)


def test_every_step_and_evaluation_is_written_once_also_by_a_run_that_goes_on(config):
    config = dataclasses.replace(config, patience=0, save_every=3)

    class Dying(ScriptedRank):
        def step(self, batch, rate_share):
            if self.steps == 7:
                raise KeyboardInterrupt
            return super().step(batch, rate_share)

    with pytest.raises(KeyboardInterrupt):
        run(config, Dying([1, 1, 1]))
    second = ScriptedRank([1, 2])
    lines = []
    work = run(config, second, lines)
    assert "going on after step 6" in lines and second.steps == 10
    assert "training on 4 groups for 10 steps, evaluated on 4 held out; 0 traces are cut to 128 tokens" in lines
    records = [json.loads(line) for line in (work.path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 11))
    assert [r["step"] for r in records if r["kind"] == "heldout"] == [2, 4, 6, 8, 10]
    assert {"pair_accuracy", "total_rmse", "pairs_minus_0", "label_step_coherence"} <= records[-1].keys()
    assert len(json.loads((work.path / "run.json").read_text())["starts"]) == 2


def test_the_rate_rises_over_the_warm_up_and_then_falls(config):
    rates = []

    class Noting(ScriptedRank):
        def step(self, batch, rate_share):
            rates.append(rate_share)
            return super().step(batch, rate_share)

    run(dataclasses.replace(config, warmup_steps=4, patience=0), Noting([1] * 5))
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert all(a >= b for a, b in itertools.pairwise(rates[3:])) and 0 < rates[-1] < 0.1
