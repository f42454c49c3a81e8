"""The commands that README and docs show: each is tried here or run by a test, or its page says what it needs.

``train`` makes its plan, ``report`` reports on small runs, measurements read their options; what runs the others is in
``shown_commands.py``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from pyarrow import Table, parquet

from launch import report, train
from launch.commands import COMMANDS as COMMAND_LINE
from launch.composition import composed
from tests.commands import run_command
from tests.tiny import make_tokenizer
from tests.unit.data.test_formats import VERL
from tests.unit.planning.models import Shape, make_checkpoint
from tests.unit.shown_commands import COMMANDS, OTHERS, RUN_BY, Shown, shown
from tests.unit.test_docs import ROOT
from tests.unit.tracking.test_report import make_run

#: Presets whose runs take GPUs; a plan of them does not.
ON_GPUS = re.compile(r"experiment=(paper_\w+|gpu_\w+|one_gpu_\w+)|=(vllm|model|judge)_gpu\b|learner=gpu\b")
WITHOUT = re.compile(r"dry_run=true|cluster\.describe=")
#: Commands that measure or make what takes long: here they read their options and stop.
LONG = re.compile(r"benchmarks\.\w+|tracelift_ray\.demo\.make_checkpoints")
#: What a line with a gap (…) is given in a plan, unless it says it itself.
GAP = {
    "planner.model": "DIR",
    "executor.model": "DIR",
    "reasoning_rm.model": "DIR",
    "data.train": "[train.jsonl]",
    "cluster.describe": "docs/clusters/1x8_80g.yaml",
}
RECORDS = {
    "train.jsonl": {"id": "p", "task": "math", "statement": "1 + 1?", "answer": "2"},
    "mine.jsonl": {"question": "1 + 1?", "meta": {"truth": "2"}},
    "data/train.jsonl": {"id": "p", "task": "math", "statement": "1 + 1?", "answer": "2"},
    "gsm8k/train.jsonl": {"question": "1 + 1?", "answer": "It is 1+1=2.\n#### 2"},
    "mbpp.jsonl": {"task_id": 1, "text": "Add 1.", "code": "def f(n): return n + 1", "test_list": ["assert f(1) == 2"]},
}


def of(name: str) -> list[Shown]:
    """Commands that call a module of ``launch``, and nothing else; each once."""
    found = [each for each in COMMANDS if each.called and each.called[0] == f"launch.{name}" and each.begins is None]
    return list({each.text: each for each in found}.values())


def tried(command: Shown) -> bool:
    """Whether a test of this file, or of those in ``RUN_BY``, runs it."""
    module = command.called[0] if command.called else ""
    return module == "launch.train" or module.removeprefix("launch.") in RUN_BY or bool(LONG.fullmatch(module))


def unmarked(commands: list[Shown]) -> list[str]:
    """Commands that need something which is not here, or take long, and do not say so."""
    lost = []
    for each in commands:
        gpus = ON_GPUS.search(each.text) and not WITHOUT.search(each.text)
        long = each.called and LONG.fullmatch(each.called[0]) and not each.page.startswith("docs/results/")
        if (
            (gpus and not re.search(r"\bGPUs?\b", each.comment))
            or (isinstance(OTHERS.get(each.begins or ""), str) and "needs " not in each.comment)
            or (long and not re.search(r"\b(minutes|hours)\b", each.comment))
        ):
            lost.append(f"{each.page}: {each.text}")
    return lost


def test_every_command_is_run_by_a_test_or_in_the_table() -> None:
    assert len(COMMANDS) > 100
    lost = [f"{each.page}: {each.text}" for each in COMMANDS if each.begins is None and not tried(each)]
    assert lost == [], "name what runs them in tests/unit/shown_commands.py; a block of output is marked ```text"


def test_a_command_that_no_test_runs_says_what_it_needs() -> None:
    assert unmarked(list(COMMANDS)) == []


def test_a_new_command_and_one_without_its_mark_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    long = "python -m launch.train experiment=paper_math \\\n    name=a"
    plan = "python -m launch.train experiment=gpu_1x8 dry_run=true # a plan"
    others = "helm install ray\ndocker build .\n```\n```text\nwhat it prints"
    page.write_text(f"```\n{plan}\n{long}\n{long}   # needs 8 GPUs\n{others}\n```\n")
    found = list(shown(page))
    assert [each.text for each in found if each.begins is None and not tried(each)] == ["helm install ray"]
    assert [each.partition(": ")[2] for each in unmarked(found)] == [
        "python -m launch.train experiment=paper_math name=a",
        "docker build .",
    ]


def test_the_tables_name_what_runs_a_command() -> None:
    assert set(OTHERS) - {each.begins for each in COMMANDS} == set(), "no page shows these"
    assert [name for name in RUN_BY if not of(name)] == []
    for entry in OTHERS.values():
        if isinstance(entry, tuple):
            assert entry[1] in (ROOT / entry[0]).read_text("utf-8"), entry
    for name, files in RUN_BY.items():
        texts = [(ROOT / file).read_text("utf-8") for file in files]
        spelled = name.replace("_", "-")
        assert re.search(rf"launch[. ]{name}\b|launch import .*\b{name}\b|\"{name}\"|\"{spelled}\"", texts[0]), files[0]
        keys = {word.lstrip("+").partition("=")[0] for each in of(name) for word in each.overrides}
        named = {key for key in keys if re.search(rf"(?<![\w.]){re.escape(key)}=", "\n".join(texts))}
        assert keys - named == set(), f"none of {files} runs {name} with these"


def test_every_configured_command_composes() -> None:
    planned = {each.text for each in of("train")}
    for each in {each.text: each for each in COMMANDS if each.text not in planned}.values():
        module = each.called[0] if each.called else "launch.train" if "slurm.sh" in each.text else ""
        command = COMMAND_LINE.get(module.removeprefix("launch.").replace("_", "-"))
        if command is not None and command.config is not None:
            composed(command.config, each.overrides)


def test_a_command_that_does_not_compose_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\npython -m launch.train experiment=quickstart \\\n    learner.rate=1   # faster\n```\n")
    (command,) = shown(page)
    assert command.overrides == ["experiment=quickstart", "learner.rate=1"] and command.comment == "faster"
    with pytest.raises(Exception, match=r"learner\.rate"):
        composed("config", command.overrides)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and files that the pages speak of, and the clusters that they plan for."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "docs").symlink_to(ROOT / "docs")
    tokenizer = make_tokenizer()
    names = {word.partition("=")[2].lstrip("/") for each in of("train") for word in each.overrides if ".model=" in word}
    for name in {"DIR", *names, *(f"models/smollm2-135m-{kind}" for kind in ("instruct", "warm", "rm"))}:
        tokenizer.save_pretrained(make_checkpoint(folder / name, Shape(2, 64, 128, 2, 2, 128)))
    for name, record in RECORDS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(record) + "\n")
    (folder / "mine.csv").write_text("question,truth\n1 + 1?,2\n")
    (folder / "verl").mkdir()
    for place in ("gsm8k", "verl"):
        parquet.write_table(Table.from_pylist([VERL]), folder / place / "train.parquet")
    return folder


@pytest.mark.parametrize("command", of("train"), ids=lambda each: each.text.partition("train ")[2])
def test_a_training_command_makes_its_plan(command: Shown, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.delenv("TRACELIFT_RUNS", raising=False)
    before = list(desk.rglob("*"))
    _, given = command.called or ("", [])
    arguments = [re.sub(r"(?<=[=\[])/(?=models/|data/)", f"{desk}/", word) for word in given]
    if "…" in command.text:
        keys = {word.partition("=")[0] for word in arguments}
        two = "experiment=gpu_2x8" in arguments
        arguments += [
            f"{key}={value.replace('1x8', '2x8' if two else '1x8')}" for key, value in GAP.items() if key not in keys
        ]
    asks = {"--help", "--cfg", "dry_run=true"} & set(arguments)
    done = run_command(train.main, *arguments, *([] if asks else ["dry_run=true"]))
    assert done.code == 0 and done.stderr == "", done.stdout[-2000:] + done.stderr
    plans = 6 if "-m" in arguments else int(asks <= {"dry_run=true"})
    assert done.stdout.count("The resources suffice.") == plans
    written = {path.name for path in desk.rglob("*")} - {path.name for path in before}
    assert written <= ({"runs", "multirun.yaml"} if "-m" in arguments else set()), "a plan writes nothing"


@pytest.mark.parametrize("line", [each.text for each in COMMANDS if each.text.startswith("make demo")])
def test_make_demo_trains_what_can_be_planned_and_reports_it(line: str) -> None:
    done = subprocess.run(["make", "-n", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
    (trains,) = re.findall(r"launch\.train (.*)", done.stdout)
    planned = run_command(train.main, *trains.split(), "dry_run=true")
    assert planned.code == 0 and "The resources suffice." in planned.stdout
    (name,), (reported,) = re.findall(r"name=(\w+)", trains), re.findall(r"launch\.report (.*)", done.stdout)
    assert reported.endswith(f"/{name}")


@pytest.mark.parametrize("command", of("report"), ids=lambda each: each.text.partition("report ")[2])
def test_a_report_is_made(command: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [word.replace("?", "0") for word in (command.called or ("", []))[1]]
    runs = [word for word in arguments if word.startswith("runs/")]
    for run in runs:
        arm, clip_max = "exec_only" if "exec" in run else "tracelift", 1.0 if "clip" in run else None
        make_run(tmp_path / run, arm, 0, 0.7, clip_max=clip_max)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    assert report.main(arguments) == 0
    (page,) = tmp_path.rglob("*.html")
    assert page.stat().st_size > 10_000


class Read(Exception):
    """The options of a command are read."""


@pytest.mark.parametrize(
    "command",
    [each for each in COMMANDS if each.called and LONG.fullmatch(each.called[0])],
    ids=lambda each: each.text.partition("-m ")[2],
)
def test_a_measurement_reads_the_options_that_are_shown(command: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    module, arguments = command.called or ("", [])
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, given: list[str] | None = None) -> NoReturn:
        parse(self, given)
        raise Read

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(Read):
        importlib.import_module(module).main()
