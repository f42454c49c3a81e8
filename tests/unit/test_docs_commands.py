"""The commands that README and docs show: each is one that a test runs, and those that need GPUs say so."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.commands import COMMANDS
from tests.unit.test_docs import PAGES, ROOT

#: A test that runs the command, in its own process or by its ``main``.
RUN_BY = {
    "build-groups": "tests/integration/test_build_groups.py",
    "chaos": "tests/integration/test_chaos.py",
    "chat": "tests/unit/chat/test_chat.py",
    "capacity": "tests/unit/simulation/test_capacity.py",
    "config-reference": "tests/unit/test_docs.py",
    "doctor": "tests/unit/doctor/test_doctor.py",
    "evaluate": "tests/integration/test_evaluate.py",
    "fetch-smollm2": "tests/unit/launch/test_fetch_smollm2.py",
    "merge": "tests/unit/lora/test_directory.py",
    "report": "tests/unit/tracking/test_report.py",
    "rm-report": "tests/unit/reasoning_rm/test_report_command.py",
    "sandbox": "tests/integration/sandbox/test_sandbox_setup.py",
    "serve-rm": "tests/integration/test_scoring_service.py",
    "simulate": "tests/unit/simulation/test_simulation.py",
    "submit": "tests/integration/test_ray_job.py",
    "train": "tests/integration/training_runs.py",
    "train-rm": "tests/integration/test_train_rm.py",
    "wandb-workspace": "tests/unit/tracking/test_wandb_workspace.py",
    "warm-start": "tests/integration/test_warm_start.py",
}
#: Presets whose runs take GPUs; a plan of them does not.
ON_GPUS = re.compile(r"experiment=(paper_\w+|gpu_\w+|one_gpu_\w+)|=(vllm|model|judge)_gpu\b|learner=gpu\b")
WITHOUT = re.compile(r"dry_run=true|cluster\.describe=")


def shown(page: Path) -> Iterator[str]:
    """The command lines in a page's examples, each as one line with its comment."""
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    lines = re.sub(r"\s*\\\n\s*", " ", "\n".join(blocks)).splitlines()
    return (line for line in lines if re.search(r"python -m launch[. ]\w|^(tracelift|sbatch) ", line))


def unmarked(page: Path) -> list[str]:
    """Commands that need GPUs and do not say so."""
    needing = (line for line in shown(page) if ON_GPUS.search(line) and not WITHOUT.search(line))
    return [line for line in needing if not re.search(r"#.*\bGPUs?\b", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_need_gpus_say_so(page: Path) -> None:
    assert unmarked(page) == []


def test_a_command_without_the_mark_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    long = "python -m launch.train experiment=paper_math \\\n    name=a"
    plan = "python -m launch.train experiment=gpu_1x8 dry_run=true"
    page.write_text(f"```\n{plan}\n{long}\n{long}   # needs 8 GPUs\n```\n")
    assert unmarked(page) == ["python -m launch.train experiment=paper_math name=a"]


def test_every_command_that_is_shown_is_run_by_a_test() -> None:
    names = {
        called[1].replace("_", "-")
        for page in PAGES
        for line in shown(page)
        for called in re.finditer(r"(?:python -m launch[. ]|^tracelift )([a-z][\w-]*)", line)
    }
    assert names & set(COMMANDS) - set(RUN_BY) == set()
    for name, path in RUN_BY.items():
        module = name.replace("-", "_")
        calls = rf"launch[. ]{module}\b|launch import {module}\b|\"{module}\"|\"{name}\"|launch\.\{{module"
        assert re.search(calls, (ROOT / path).read_text("utf-8")), f"{path} does not run {name}"
