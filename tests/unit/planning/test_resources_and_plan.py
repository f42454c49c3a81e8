"""The arithmetic of resources and batches, and the plan that a dry run prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.described_cluster import described_cluster
from tracelift_ray.planning.placement import PlacementError, placed
from tracelift_ray.planning.plan import fit, render_plan, reward_lines
from tracelift_ray.planning.resources import (
    ClusterResources,
    Node,
    PoolDemand,
    demands,
    local_resources,
    resources_of,
    shortfalls,
    total_cpus,
    visible_gpus,
)

Run = Callable[..., RunConfig]


def test_every_pool_is_counted_and_a_reasoning_rm_only_where_there_is_one(run_config: Run) -> None:
    config = run_config("planner.pool.workers=2", "verifier.pool.cpus_per_worker=0.5", "learner.num_workers=2")
    asked = {demand.name: (demand.workers, demand.total_cpus) for demand in demands(config)}
    assert asked == {
        "planner": (2, 2.0),
        "executor": (1, 1.0),
        "verifier": (1, 0.5),
        "reasoning_rm": (1, 1.0),
        "learner": (2, 2.0),
    }
    assert total_cpus(config) == 6.5
    without = run_config("reward=exec_only", "reasoning_rm.model=''")
    assert [demand.name for demand in demands(without)] == ["planner", "executor", "verifier", "learner"]


def test_a_shortfall_says_who_asks_for_how_much() -> None:
    asked = (PoolDemand("planner", "planner.pool", 2, 1, 0.5), PoolDemand("learner", "learner", 1, 2, 1))
    assert shortfalls(asked, ClusterResources(cpus=4, gpus=2)) == []
    assert shortfalls(asked, ClusterResources(cpus=3, gpus=1.5)) == [
        "4 CPUs asked (planner 2, learner 2), 3 there: 1 too few",
        "2 GPUs asked (planner 1, learner 1), 1.5 there: 0.5 too few",
    ]


def test_fractions_that_add_up_are_no_shortfall() -> None:
    asked = tuple(PoolDemand(str(i), "x", 1, 0.1, 0) for i in range(10))
    assert shortfalls(asked, ClusterResources(cpus=1, gpus=0)) == []


def test_a_local_cluster_has_the_cpus_that_are_asked_for_unless_told(run_config: Run) -> None:
    assert local_resources(run_config()).cpus == 5
    told = resources_of([Node("this machine", 8.0, 2)])
    assert local_resources(run_config("cluster.num_cpus=8", "cluster.num_gpus=2")) == told
    assert (told.cpus, told.gpus, told.nodes) == (8.0, 2.0, 1)


def test_gpus_are_counted_by_their_devices_as_far_as_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(tmp_path) == 0
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus(tmp_path) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(tmp_path) == 0
    (tmp_path / "kfd").touch()
    assert visible_gpus(tmp_path) is None


def test_the_plan_shows_resources_batches_reward_and_paths(run_config: Run, tmp_path: Path) -> None:
    config = run_config("algorithm.groups_per_step=24", "learner.num_workers=2", "stream.max_staleness=2")
    plan = render_plan(config, ClusterResources(cpus=16, gpus=0, nodes=2))
    for text in (
        "24 groups x 8 = 192 traces",
        "840 samples (192 traces x 4 + 24 baselines x 3)",
        "192 scores",
        "2 ranks, ZeRO 0, about 96 traces a rank",
        "up to 2 policy versions old",
        "math: R = 0.5 e2e + 0.5 q u",
        "code: R = clip(e + 0.2 q c, 0, 1.2)",
        "on a tie by successes n (1 of 3: 0.5, else n / 3",
        "2 nodes",
        f"{tmp_path}/runs/train",
        f"{tmp_path}/models/executor",
        "demo:math demo:code",
    ):
        assert text in plan
    assert plan.endswith("The resources suffice.")


def test_the_plan_ends_with_the_shortfall(run_config: Run) -> None:
    plan = render_plan(run_config(), ClusterResources(cpus=4, gpus=0))
    assert plan.splitlines()[-1].startswith("Shortfall: 5 CPUs asked (planner 1, ")


def test_the_plan_counts_the_samples_of_leave_one_out(run_config: Run) -> None:
    plan = render_plan(run_config("reward.e2e=leave_one_out", "reward.num_samples=2"), ClusterResources(9, 0))
    assert "208 samples (64 traces x 3 + 8 baselines x 2)" in plan
    assert "e2e: success of each of 3 samples in turn, the others being the K" in plan


def test_the_plan_says_what_a_pooled_baseline_is_made_of(run_config: Run) -> None:
    plan = render_plan(run_config("reward.baseline=pooled", "reward.baseline_samples=2"), ClusterResources(9, 0))
    assert "8 baselines x 2 until 16 of the problem are pooled" in plan
    words = reward_lines(run_config("reward.baseline=pooled").reward, ("math",))
    assert any("1 more a group up to 16, and a prior that counts for 2" in line for line in words)


def test_long_paths_are_not_broken_into_lines(run_config: Run, tmp_path: Path) -> None:
    run_dir = tmp_path / ("x" * 150) / ("y" * 100)
    assert str(run_dir) in render_plan(run_config(f"run_dir={run_dir}"), ClusterResources(9, 0))


@pytest.mark.parametrize(
    ("overrides", "math", "code"),
    [
        (["reward=exec_only"], "e2e", "e"),
        (["reward=rm_only"], "q", "q"),
        (["reward=uplift_only"], "0.5 e2e + 0.5 u", "clip(e + 0.2 c, 0, 1.2)"),
        (["reward=paper_code"], "0.5 e2e + 0.5 q u", "clip(e + 0.2 q c, 0, 1)"),
        (["reward.math_grounded_weight=0.25", "reward.clip_max=2"], "0.5 e2e + 0.25 q u", "clip(e + 0.2 q c, 0, 2)"),
    ],
)
def test_the_reward_is_shown_with_its_constants(run_config: Run, overrides: list[str], math: str, code: str) -> None:
    lines = reward_lines(run_config(*overrides).reward, ("math", "code"))
    assert f"math: R = {math}" in lines
    assert f"code: R = {code}" in lines


def test_only_the_letters_in_force_are_explained(run_config: Run) -> None:
    letters = [line.split(":")[0] for line in reward_lines(run_config("reward=exec_only").reward, ("math",))]
    assert letters == ["arm exec_only", "math", "e2e", "malformed traces"]


def test_an_arm_without_executor_samples_asks_for_none(run_config: Run) -> None:
    assert "executor: 0 samples of up to" in render_plan(run_config("reward=rm_only"), ClusterResources(9, 0))


GPUS = ("planner.pool.gpus_per_worker=1", "learner.gpus_per_worker=1", "stream.weight_transfer=collective")


def test_the_plan_of_a_described_cluster_draws_who_is_on_which_gpu(run_config: Run, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("nodes:\n  - {name: big, cpus: 64, gpus: 4, count: 2}\n")
    described = described_cluster(str(tmp_path / "cluster.yaml"))
    assert [node.name for node in described.machines] == ["big-0", "big-1"]
    workers = ("planner.pool.workers=2", "learner.num_workers=2", "dry_run=true")
    plan = render_plan(run_config(*GPUS, *workers), described)
    assert "planner 0" in plan and "learner 1" in plan and plan.endswith("The resources suffice.")
    shared = render_plan(run_config(*GPUS, *workers, "cluster.share_gpus=[[planner,learner]]"), described)
    assert (
        "planner 1, learner 1" in " ".join(shared.split()) and fit(run_config(*GPUS, *workers), described).lacking == ()
    )


def test_the_plan_says_with_numbers_what_no_node_has_room_for(run_config: Run) -> None:
    """Though the totals suffice."""
    cluster = resources_of([Node("n0", 64, 4), Node("n1", 64, 4)])
    wide = ("planner.engine.tensor_parallel_size=5", "planner.pool.gpus_per_worker=5", "dry_run=true")
    plan = render_plan(run_config(*GPUS, *wide), cluster)
    assert "Shortfall: no node has room for 1 planner, which need 5 GPUs" in plan.splitlines()[-1]


def test_shared_memory_is_refused_where_learner_and_engines_lie_on_several_machines(run_config: Run) -> None:
    run = run_config("planner.pool.workers=4", "dry_run=true")
    with pytest.raises(
        PlacementError, match=r"shared_memory is for one machine.*use stream.weight_transfer=collective"
    ):
        placed(run, [Node("n0", 4, 0), Node("n1", 4, 0)])
    assert placed(run, [Node("n0", 16, 0)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be YAML such as nodes"),
        ("nodes: 3", "must be YAML such as nodes"),
        ("{", "must be YAML such as nodes"),
        ("nodes: [3]", r"nodes\[0\]=3: must be a mapping"),
        ("nodes: [{cpus: many, gpus: 1}]", r"nodes\[0\].cpus=many: must be a finite number"),
        ("nodes: [{gpus: 1}]", r"nodes\[0\].cpus: is needed"),
        ("nodes: [{cpus: 1, gpus: 1}, {cpus: 1, gpus: 1, gpu_memory: 80}]", r"nodes\[1\].gpu_memory: no such key; did"),
        ("{nodes: [{cpus: 1, gpus: 1}], shared: true}", "shared: no such key; there are: nodes"),
        ("nodes: [{cpus: 1, gpus: 1, count: 0}]", r"nodes\[0\].count=0: must be 1 or more"),
    ],
)
def test_what_a_description_must_not_say_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"cluster.describe=.*cluster.yaml: {said}"):
        described_cluster(str(tmp_path / "cluster.yaml"))


def test_a_description_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        described_cluster(str(tmp_path / "missing.yaml"))
