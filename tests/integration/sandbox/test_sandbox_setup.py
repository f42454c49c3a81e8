"""Which tier is used where, and what is refused with which words. Each command runs as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tests.sandboxes import sandbox_config
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests
from tracelift_ray.verification.sandbox.pool import Sandbox
from tracelift_ray.verification.sandbox.probe import TierReport, refusal

ROOT = Path(__file__).resolve().parents[3]
USER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the user, so it has to be root")
CONTAINER = ["-m", "tests.container_profile"]
AS_USER = [*CONTAINER, "--user", str(USER)]


def probe(prefix: Sequence[str], *overrides: str) -> subprocess.CompletedProcess[str]:
    """``python -m launch.sandbox`` under ``prefix``."""
    command = [sys.executable, *prefix, *([sys.executable] if prefix else []), "-m", "launch.sandbox", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)


def test_namespaces_are_used_where_they_are_to_be_had() -> None:
    done = probe([])
    assert done.returncode == 0, done.stderr
    assert "tier namespaces: holds\n" in done.stdout and "tier landlock: holds; lacks" in done.stdout
    assert done.stdout.endswith("in use: namespaces\n")


@as_root
@pytest.mark.parametrize(
    ("prefix", "tier"),
    [([*AS_USER, "--no-profile"], "namespaces"), (CONTAINER, "landlock"), (AS_USER, "landlock")],
    ids=["user", "container, root", "container, user"],
)
def test_users_and_containers_get_the_strongest_tier_that_holds(prefix: list[str], tier: str) -> None:
    done = probe(prefix)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"in use: {tier}\n")
    if tier == "landlock":
        assert (
            "tier namespaces: does not hold (PermissionError: [Errno 1] unshare: Operation not permitted)"
            in done.stdout
        )


@as_root
def test_a_machine_where_no_tier_holds_is_refused_with_reason_and_remedy() -> None:
    done = probe([*CONTAINER, "--no-landlock"])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    for words in (
        "no program is run",
        "unshare: Operation not permitted",
        "no Landlock",
        "lsm=landlock",
        "unsafe_subp",
    ):
        assert words in line


@as_root
def test_a_tier_that_is_asked_for_by_name_is_not_replaced_by_another() -> None:
    done = probe(CONTAINER, "sandbox.tier=namespaces")
    assert done.returncode == 1 and "namespaces: PermissionError" in done.stderr and "landlock" not in done.stdout
    unsafe = probe([*CONTAINER, "--no-landlock"], "sandbox.tier=unsafe_subprocess")
    assert unsafe.returncode == 0 and "lacks isolation" in unsafe.stdout


def test_a_wrong_setting_is_one_line() -> None:
    done = probe([], "sandbox.tier=docker")
    assert done.returncode == 2 and done.stderr.startswith("error: sandbox.tier=docker: must be auto, namespaces,")
    done = probe([], "sandbox.tier=flat")
    assert done.returncode == 2 and done.stderr == "error: sandbox.tier=flat: is called landlock now\n"


def test_a_refusal_names_each_tier_and_what_to_do() -> None:
    words = refusal([TierReport("namespaces", "broken"), TierReport("landlock", "too old")])
    assert "namespaces: broken; landlock: too old" in words and "user.max_user_namespaces" in words and "5.13" in words


@pytest.mark.parametrize("tier", ["namespaces", "landlock", "unsafe_subprocess"])
def test_every_tier_tells_right_from_wrong(tier: str) -> None:
    sandbox = Sandbox(sandbox_config(tier=tier), 1)
    try:
        assert sandbox.tier == tier and [report.holds for report in sandbox.reports] == [True]
        assert sandbox.run("print(input())", CodeTests("stdio", ("a",), ("a",))).passed
        assert sandbox.run("print(input())", CodeTests("stdio", ("a",), ("b",))).outcome == "wrong_answer"
        tests = CodeTests("function", asserts=("assert f(2) == 4",))
        assert sandbox.run("def f(x): return 2 * x", tests).passed
        assert sandbox.run("def f(x): return 3 * x", tests).outcome == "wrong_answer"
    finally:
        sandbox.close()


def test_slots_are_pinned_to_their_cores_and_so_are_those_that_take_their_place() -> None:
    cores = tuple(sorted(os.sched_getaffinity(0)))[:2]
    sandbox = Sandbox(sandbox_config(cores=cores), 2)

    def pinned() -> list[list[int]]:
        return sorted(sorted(os.sched_getaffinity(slot.pid or 0)) for slot in sandbox.slots)

    try:
        wanted = sorted([core] for core in (*cores, *cores)[:2])
        assert pinned() == wanted
        where = "import os; print(*os.sched_getaffinity(0))"
        assert sandbox.run(where, CodeTests("stdio", ("",), (str(cores[0]),))).passed
        victim = next(slot for slot in sandbox.slots if slot.cores == (cores[-1],))
        for killed in range(1, 4):
            os.kill(victim.pid or 0, signal.SIGKILL)
            while sandbox.counts.restarts < killed:
                assert sandbox.run("print(1)", CodeTests("stdio", ("",), ("1",))).passed
            assert pinned() == wanted
            victim = next(slot for slot in sandbox.slots if slot.cores == (cores[-1],))
    finally:
        sandbox.close()


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
def test_a_program_leads_its_group_and_no_session_so_it_can_take_no_terminal(tier: str) -> None:
    sandbox = Sandbox(sandbox_config(tier=tier), 1)
    try:
        where = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"
        assert sandbox.run(where, CodeTests("stdio", ("",), ("True False",))).passed
    finally:
        sandbox.close()


def test_packages_from_their_folder_can_be_imported_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    (folder / "greeting").mkdir(parents=True)
    (folder / "greeting" / "__init__.py").write_text("WORD = 'hello'\n")
    for path in (tmp_path, *tmp_path.parents[:2], folder, folder / "greeting"):
        path.chmod(0o755)
    sandbox = Sandbox(sandbox_config(packages=str(folder), preload=("greeting",)), 1)
    try:
        tests = CodeTests("stdio", ("",), ("hello",))
        assert sandbox.run("import greeting; print(greeting.WORD)", tests).passed
        assert "No module named 'torch'" in sandbox.run("import torch", tests).detail
    finally:
        sandbox.close()


def test_a_module_to_preload_that_does_not_exist_is_said_at_the_start() -> None:
    with pytest.raises(InfrastructureError, match="No module named 'no_such_module'"):
        Sandbox(sandbox_config(preload=("no_such_module",)), 1)
