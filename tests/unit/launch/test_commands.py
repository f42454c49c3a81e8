"""One command line for all: what it lists, what ``--help`` says, what it refuses, what Tab offers."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.commands import COMMANDS
from launch.completion import candidates
from launch.composition import composed
from launch.conf_files import CONFIG_DIR, offer
from launch.help import EXIT_CODES
from tests.commands import run_command
from tests.hang import HANG_S

ROOT = CONFIG_DIR.parent
run = partial(run_command, main)


def test_the_installed_command_is_the_one_that_is_tested_here() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, entry = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = entry.partition(":")
    assert name == "tracelift"
    assert getattr(importlib.import_module(module), function) is main


def test_it_lists_every_command_at_once_and_without_a_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom launch.__main__ import main\ntry:\n main()\nfinally:\n"
        " print('HEAVY', *sorted({'torch', 'ray', 'transformers', 'vllm', 'deepspeed', 'wandb'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments in ([], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            **{"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": HANG_S},
        )
        assert done.returncode == 0, done.stderr
        assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
        assert done.stdout.endswith("HEAVY\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_the_groups_and_fields_that_exist(name: str) -> None:
    command = COMMANDS[name]
    shown = run(name, "--help")
    assert shown.code == 0 and shown.stderr == ""
    assert f"  tracelift {name} {command.examples[0]}".rstrip() in shown.stdout
    assert all(f"  {code} " in shown.stdout for code in EXIT_CODES)
    assert (ROOT / "docs" / f"{command.page}.md").is_file()
    if command.config is not None:
        offered = offer(command.config)
        assert all(
            f"  {group} " in shown.stdout and choices[0] in shown.stdout for group, choices in offered.groups.items()
        )
        assert all(f"  {key}=" in shown.stdout for key in command.changed)


def test_every_command_of_the_table_is_a_module_with_a_main_and_every_module_is_in_the_table() -> None:
    mains = {
        f"launch.{path.stem}"
        for path in (ROOT / "launch").glob("*.py")
        if '__name__ == "__main__"' in path.read_text() and path.stem != "__main__"
    }
    # What people do not call by name: make reference, make smollm2, make docs, the hook of a pod.
    others = {"launch.config_reference", "launch.fetch_smollm2", "launch.wandb_workspace", "launch.pod_stop"}
    assert mains - others == {each.module for each in COMMANDS.values()}


def test_the_page_of_commands_has_each_of_them_once() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    (table,) = re.findall(r"^\| command \| what it does \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    firsts = "".join(row.split("|")[1] for row in table.splitlines()[2:] if row)
    assert sorted(re.findall(r"`([\w-]+)`", firsts)) == sorted(COMMANDS)


def test_examples_name_a_checkpoint_that_the_demo_leaves() -> None:
    texts = (path.read_text("utf-8") for path in (*ROOT.glob("launch/*.py"), *ROOT.glob("docs/*.md")))
    named = set(re.findall(r"runs/quickstart/checkpoints/step-(\d+)", "\n".join(texts)))
    assert named == {f"{composed('config', ['experiment=quickstart']).total_steps:06d}"}


def test_a_command_that_does_not_exist_is_one_line_and_exit_code_2() -> None:
    assert run("train_rm") == (2, "", "error: train_rm: no such command; did you mean train-rm or train?\n")


def test_a_mistake_is_one_line_and_traceback_shows_where_it_comes_from() -> None:
    short = run("train", "experiment=quickstart", "learner.zero_stag=1")
    full = run("train", "experiment=quickstart", "--traceback", "learner.zero_stag=1")
    assert (short.code, short.stderr.count("\n")) == (full.code, 1) == (2, 1)
    assert full.stderr.startswith("Traceback") and full.stderr.endswith(short.stderr)


def test_a_report_of_nothing_is_one_line_and_traceback_shows_where_it_comes_from(tmp_path: Path) -> None:
    short, full = run("report", str(tmp_path)), run("report", str(tmp_path), "--traceback")
    assert (short.code, short.stderr.count("\n")) == (full.code, 1) == (2, 1)
    assert full.stderr.startswith("Traceback") and full.stderr.endswith(short.stderr)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ((), "the following arguments are required: RUN_DIR"),
        (("runs/mine", "--into", "here"), "unrecognized arguments: --into here"),
    ],
)
def test_a_report_that_is_asked_for_wrongly_is_one_line(arguments: tuple[str, ...], wrong: str) -> None:
    line = f"error: {wrong}; `tracelift report --help` shows what there is\n"
    assert run("report", *arguments) == (2, "", line)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], [*COMMANDS, "--help"]),
        (["tr"], ["train", "train-rm"]),
        (["train", "rew"], ["reward=", *(f"reward.{key}" for key in ("arm=",))]),
        (["train", "reward=ex"], ["exec_only"]),
        (["train", "seed=1", "learner.lr"], ["learner.lr="]),
        (["serve-rm", "po"], ["port="]),
        (["evaluate", "bench"], ["benchmarks="]),
        (["report", "runs/"], []),
        (["nothing", ""], []),
    ],
)
def test_tab_offers_commands_groups_choices_and_fields(words: list[str], found: list[str]) -> None:
    offered = candidates(words)
    assert set(found) <= set(offered)
    assert all(each.startswith(words[-1].rpartition("=")[2]) for each in offered)
    assert bool(offered) is bool(found)


@pytest.fixture
def shell_path(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds ``tracelift``."""
    tracelift = tmp_path / "tracelift"
    tracelift.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m launch "$@"\n')
    tracelift.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb"}


@pytest.mark.parametrize(
    ("line", "offered"), [("train seed=1 experiment=qui", '=([0]="quickstart")'), ("report runs/", "=()")]
)
def test_bash_completes_and_is_left_to_offer_files_where_nothing_fits(
    line: str, offered: str, shell_path: dict[str, str]
) -> None:
    script = (
        f'eval "$(tracelift --completion bash)"; COMP_LINE="tracelift {line}"; COMP_POINT=${{#COMP_LINE}}; '
        "_tracelift; declare -p COMPREPLY"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        **{"cwd": ROOT, "env": shell_path, "capture_output": True, "text": True, "timeout": HANG_S},
    )
    assert (done.stdout, done.stderr) == (f"declare -a COMPREPLY{offered}\n", "")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_as_it_is_typed(shell_path: dict[str, str]) -> None:
    # A shell in a terminal of its own, which is given keys and read until what they make is there.
    script = """
    zmodload zsh/zpty
    zpty -b shell 'zsh -f -i'
    zpty -w shell 'eval "$(tracelift --completion zsh)"; print LOAD''ED'
    until [[ $seen == *LOADED* ]]; do zpty -r -t shell line && seen+=$line; sleep 0.1; done
    zpty -n -w shell $'tracelift train seed=1 experiment=qui\t'
    until [[ $seen == *experiment=quickstart* ]]; do zpty -r -t shell line && seen+=$line; sleep 0.1; done
    zpty -n -w shell $'algorithm=dr_\t'
    until [[ $seen == *algorithm=dr_grpo* ]]; do zpty -r -t shell line && seen+=$line; sleep 0.1; done
    zpty -d shell
    """
    subprocess.run(["zsh", "-f", "-c", script], cwd=ROOT, env=shell_path, timeout=HANG_S, check=True)


def test_another_shell_is_refused_with_those_that_there_are() -> None:
    refused = run("--completion", "csh")
    assert refused.code == 2 and "completion is for bash or zsh" in refused.stderr


def test_conf_travels_with_an_installation() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "conf*" in setup["options.packages.find"]["include"].split()
    assert setup["options.package_data"]["*"].split() == ["*.yaml", "*.sh", "*.html", "*.css", "*.js"]
