"""Every preset for GPUs fits the machines that it is for, and says with numbers why it does not fit smaller ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from launch.conf_files import CONFIG_DIR
from launch.train import _show_plan
from tests.tiny import make_tokenizer
from tests.unit.config.composed import compose_config
from tests.unit.planning import models
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.transfer.kinds import TRANSFERS

CLUSTERS = CONFIG_DIR.parent / "docs" / "clusters"
#: A smaller cluster for each preset, and what is said of that.
TOO_SMALL = {
    "one_gpu_24g": ("one_16g", r"executor: .*gpu_memory_utilization=0.3 of 15.0 GiB is 4.50; weights"),
    "one_gpu_80g": ("one_40g", r"GPU 0 of a100-0 while engines generate: planner .* = \d+\.\d GiB, it has 39.5"),
    "gpu_1x8": ("1x8_24g", r"GPU 0 of a10-0: learner \d+\.\d GiB, it has 22.5 \(and 3 more"),
    "gpu_2x8": ("1x8_80g", r"16 GPUs asked \(planner 4, .*8 there: 8 too few"),
    "gpu_4x8_70b": ("4x8_40g", r"reasoning_rm.judge.engine.gpu_memory_utilization=0.9 of 39.5 GiB"),
    "paper_math": ("1x8_24g", r"GPU 0 of a10-0: learner \d+\.\d GiB, it has 22.5 \(and 3 more"),
    "paper_code": ("one_80g", r"8 GPUs asked \(planner 2, .*1 there: 7 too few"),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[models.Shape, str]:
    """A directory for each shape, with a tokenizer that loads."""
    root = tmp_path_factory.mktemp("models")
    tokenizer, made = make_tokenizer(), {}
    for number, shape in enumerate(dict.fromkeys(shape for shapes, _ in models.FITTING.values() for shape in shapes)):
        made[shape] = models.make_checkpoint(root / str(number), shape)
        tokenizer.save_pretrained(made[shape])
    return made


def preset(name: str, cluster: str, checkpoints: dict[models.Shape, str], root: Path, *overrides: str) -> RunConfig:
    planner, executor, scorer = (checkpoints[shape] for shape in models.FITTING[name][0])
    problems = root / "problems.jsonl"
    problems.write_text(json.dumps({"id": "1", "task": "math", "statement": "1 + 1?", "answer": "2"}) + "\n")
    judge = "judge." if name == "gpu_4x8_70b" else ""
    given = (f"planner.model={planner}", f"executor.model={executor}", f"reasoning_rm.{judge}model={scorer}")
    paths = (f"data.train=[{problems}]", f"runs_root={root}/runs", f"cluster.describe={CLUSTERS / cluster}.yaml")
    return to_run_config(compose_config(f"experiment={name}", *given, *paths, "dry_run=true", *overrides))


@pytest.mark.parametrize("name", models.FITTING)
def test_a_preset_fits_its_machines(
    name: str, checkpoints: dict[models.Shape, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = preset(name, models.FITTING[name][1], checkpoints, tmp_path)
    assert _show_plan(run) == 0
    plan = capsys.readouterr().out
    assert plan.splitlines()[-1] == "The resources suffice." and "not planned" not in plan
    transfer, shared = TRANSFERS[run.stream.weight_transfer], {"planner", "learner"}
    assert run.learner.collective == "nccl" and (transfer.collective or transfer.shared_gpus)
    assert transfer.shared_gpus == any(shared <= set(pools) for pools in run.cluster.share_gpus)


@pytest.mark.parametrize("name", models.FITTING)
def test_a_preset_says_with_numbers_why_it_does_not_fit_smaller_machines(
    name: str, checkpoints: dict[models.Shape, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smaller, said = TOO_SMALL[name]
    assert _show_plan(preset(name, smaller, checkpoints, tmp_path)) == 1
    ending = "\n".join(line for line in capsys.readouterr().out.splitlines() if line.startswith("Shortfall: "))
    assert re.search(said, ending), ending


@pytest.mark.parametrize(("name", "machines"), [("gpu_1x8", 1), ("gpu_2x8", 2)])
def test_a_preset_fits_what_the_specs_ask_of_kubernetes_and_slurm(
    name: str, machines: int, checkpoints: dict[models.Shape, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = CONFIG_DIR.parent / "launch" / "specs"
    pod = re.search(
        r'limits: {cpu: "(\d+)", memory: (\d+)Gi, nvidia.com/gpu: "(\d+)"}', (specs / "kuberay_rayjob.yaml").read_text()
    )
    slurm = (specs / "slurm.sh").read_text()
    asked = re.search(r"^#SBATCH --cpus-per-task=(\d+)\n#SBATCH --gpus-per-task=(\d+)$", slurm, re.MULTILINE)
    assert pod and asked and (asked[1], asked[2]) == (pod[1], pod[3])
    node = {"name": "node", "count": machines, "cpus": int(pod[1]), "memory_gib": int(pod[2]), "gpus": int(pod[3])}
    described = tmp_path / "cluster.yaml"
    described.write_text(json.dumps({"nodes": [{**node, "gpu_memory_gib": 79.6}]}))
    assert _show_plan(preset(name, str(described.with_suffix("")), checkpoints, tmp_path)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "The resources suffice."


def test_the_change_that_a_plan_names_makes_a_preset_fit(
    checkpoints: dict[models.Shape, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _show_plan(preset("gpu_4x8_70b", "4x8_40g", checkpoints, tmp_path))
    advice = capsys.readouterr().out.splitlines()[-1]
    assert advice.startswith("It fits with ")
    change = advice.removeprefix("It fits with ").split()
    assert _show_plan(preset("gpu_4x8_70b", "4x8_40g", checkpoints, tmp_path, *change)) == 0
