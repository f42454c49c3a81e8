"""The study of executor samples on runs: resampling a known world, the table of the curves, and what is made again."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import executor_curves, executor_logged, executor_tokens, executor_world
from benchmarks.executor_draws import FAILING, SHOWN
from benchmarks.executor_logged import Logged, LoggedGroup, resampled
from benchmarks.executor_world import FIXED, GROUP, KINDS, SCORES, Scheme, World
from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import RubricScore

CONFIG = executor_tokens.settings()
LEAVE_ONE_OUT = Scheme("", "leave_one_out", 2, 2)


@pytest.mark.parametrize("task", ["math", "code"])
def test_resampling_finds_the_signal_to_noise_of_the_world_that_was_logged(task, monkeypatch):
    p, q, without, samples = np.array([0.9, 0.6, 0.4, 0.1, 0, 0]), np.array([14, 10, 16, 8, 0, 0]), 0.3, 200
    world = World(p[None], q[None], np.full((1, KINDS), 1 / KINDS), np.array([without]))
    kinds, rng = np.tile(np.arange(GROUP), (20_000, 1)), np.random.default_rng(0)
    found = {}
    for scheme in (LEAVE_ONE_OUT, FIXED):
        rewards = executor_world.table(scheme, task_of(task).reward_form, CONFIG.reward, without)
        found[scheme] = executor_world._executed(world, scheme, rewards, 0, kinds, CONFIG.algorithm, rng)[0]
    aim = found[FIXED].mean(axis=0)
    expected = [
        (each.mean(axis=0) @ aim) ** 2 / (aim @ aim) / each.var(axis=0).sum()
        for each in (found[LEAVE_ONE_OUT], found[FIXED])
    ]
    traces = []
    for rate, score in zip(
        p[:GROUP], SCORES[q[:GROUP]], strict=True
    ):  # as many of each kind as the world has on average
        shares = (rate, (1 - rate) * FAILING[0], (1 - rate) * FAILING[1])
        shown = [each for each, share in zip(SHOWN, shares, strict=True) for _ in range(round(share * samples))]
        traces.append(Logged(tuple(shown), RubricScore((), float(score), float(score))))
    passed = round(without * samples)
    group = LoggedGroup(task, tuple(traces), (1,) * passed + (0,) * (samples - passed))
    monkeypatch.setattr(executor_logged, "RESAMPLES", 800)
    logged = [resampled([group], scheme, CONFIG, 0) for scheme in (LEAVE_ONE_OUT, FIXED)]
    assert [each.signal for each in logged] == pytest.approx(expected, rel=0.12)
    assert [each.samples for each in logged] == [LEAVE_ONE_OUT.drawn(), FIXED.drawn()]


def test_a_second_round_of_logged_samples_goes_to_the_traces_that_the_rule_names():
    passes, fails = ((SHOWN[kind],) * 9 for kind in (0, 2))
    traces = [Logged(shown, RubricScore((), 0.5, 0.5)) for shown in (passes, fails, fails)]
    group = LoggedGroup("math", (*traces, Logged((), None)), (0,) * 8)
    scheme = Scheme("", "leave_one_out", 3, 3, first=2, rule="open")
    assert resampled_samples(group, scheme) == 2 + 4 + 4 + 0 + 3
    dead = LoggedGroup("math", (traces[1], traces[2]), (0,) * 8)
    assert resampled_samples(dead, Scheme("", "leave_one_out", 3, 3, first=2)) == 2 + 2 + 3


def resampled_samples(group: LoggedGroup, scheme: Scheme) -> int:
    order = [list(range(len(trace.executions))) for trace in group.traces]
    return executor_logged._drawn(group, scheme, order, list(range(8)), CONFIG).samples


def run_made(folder: Path, seed: int, accuracies: dict[int, float], kind: str = "evaluation") -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"name: {folder.name}\nseed: {seed}\nreward: {{arm: tracelift}}\n")
    lines = []
    for step, value in accuracies.items():
        figures = {f"evaluation/{task}/{m}": value for task in ("math", "code") for m in executor_curves.METRICS}
        lines.append(json.dumps({"step": step, "kind": kind, **figures}) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))


def test_the_curves_say_what_each_scheme_ends_with_and_what_it_had_at_the_samples_of_the_thriftiest(tmp_path):
    for seed, more in ((0, 0.0), (1, 0.1)):
        run_made(tmp_path / "fixed" / f"grpo_{seed}", seed, {0: 0.1 + more, 40: 0.5 + more})
        run_made(tmp_path / "leave_one_out_1" / f"grpo_{seed}", seed, {0: 0.1, 40: 0.7})
    table = executor_curves.curves([0, 1], 40, tmp_path, ["fixed", "leave_one_out_1"]).splitlines()
    assert table[0] == "40 steps, seeds 0, 1."
    fixed, thrifty = ([cell.strip() for cell in line.strip("|").split("|")] for line in table[-2:])
    assert fixed[:3] == ["fixed", "840", "0.550 [0.500, 0.600]"]
    # 408 of 840 samples a step: what fixed had after 19.4 of its 40 steps, on the straight line
    assert fixed[6] == "0.344 [0.294, 0.394]"
    assert thrifty[:3] == ["leave_one_out_1", "408", "0.700"] and thrifty[6] == "0.700"


def test_a_logged_run_that_has_ended_is_not_made_again_and_the_command_is_one_that_the_trainer_takes(
    tmp_path, monkeypatch
):
    asked: list[list[str]] = []
    monkeypatch.setattr(executor_logged.subprocess, "run", lambda command, **_: asked.append(command))
    run_made(tmp_path / "logged_0", 0, {1: 0.0, executor_logged.STEPS: 0.0}, "training")
    run_made(tmp_path / "logged_1", 1, {1: 0.0}, "training")
    folders = [executor_logged.made(seed, tmp_path) for seed in (0, 1, 2)]
    assert [folder.name for folder in folders] == ["logged_0", "logged_1", "logged_2"]
    assert [command[-2] for command in asked] == ["name=logged_1", "name=logged_2"]
    config = to_run_config(composed("config", asked[0][3:]), files=False)
    assert (config.total_steps, config.seed, config.reward.num_samples) == (executor_logged.STEPS, 1, 8)


def test_one_command_makes_every_part_in_order_where_the_runs_are(tmp_path, monkeypatch):
    monkeypatch.setattr(executor_tokens, "simulation", lambda seeds, problems, groups: "simulated")
    monkeypatch.setattr(executor_logged, "made", lambda seed, runs: runs / f"logged_{seed}")
    monkeypatch.setattr(executor_logged, "logged", lambda folders, schemes, config: str([f.name for f in folders]))
    monkeypatch.setattr(executor_tokens, "curves", lambda seeds, steps, runs, names: f"{steps} {runs} {len(names)}")
    options = argparse.Namespace(
        all=True, seeds=[0, 1], problems=1, groups=1, logged=[], curves=0, runs=tmp_path, schemes=["fixed"]
    )
    assert list(executor_tokens.asked_for(options)) == [
        ("simulation", "simulated"),
        ("logged", "['logged_0', 'logged_1']"),
        ("curves", f"{executor_tokens.STEPS} {tmp_path} 1"),
    ]
    options.all, options.curves = False, 60
    assert list(executor_tokens.asked_for(options)) == [("curves", f"60 {tmp_path} 1")]
