"""A corpus of attacks and honest programs gets the verdicts it should, in every tier and for every user.

Each case is a separate process, so that it can be another user's, or look as if a container runtime had started it.
``canaries.py`` says what is watched: files, sockets, an environment variable, other processes, what outlives a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.verification.corpus.manifest import read_corpus

ROOT = Path(__file__).resolve().parents[3]
ATTACKS = Path(__file__).with_name("attacks")
LIMITS = ("sandbox.memory_mib=512", "sandbox.output_kib=8192", f"attacks={ATTACKS}")
#: For attacks that a time limit may end.
SHORT = ("sandbox.cpu_s=0.8", "sandbox.wall_s=3")
#: All others end by themselves or at another limit, on a busy machine later.
LONG = ("sandbox.cpu_s=60", "sandbox.wall_s=300")
EVERYTHING = "bchklnrxyz"
#: What depends on the user that runs it: all but limits on resources and cheats at how outputs are read.
BY_IDENTITY = "bchxyz"
#: What depends on the kernel's help: honest programs, and attacks on the isolation.
BY_KERNEL = "bcxz"
USER = "--user=12345"


def start(tier: str, *arguments: str, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Starts a run of the corpus."""
    command = [sys.executable, "-m", "launch.sandbox", f"sandbox.tier={tier}", *LIMITS, *arguments]
    if wrapper:
        command = [sys.executable, "-m", "tests.container_profile", *wrapper, *command]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], tier: str) -> None:
    """Waits for a run of the corpus; the failing lines are the message of the assertion."""
    with process:
        try:
            said, _ = process.communicate(timeout=HANG_S)
        finally:
            process.kill()
    bad = [line for line in said.splitlines() if not line.startswith("ok ")]
    assert process.returncode == 0, "\n".join(bad)
    assert f"in use: {tier}" in bad
    assert "of 0 as they should be" not in said


def run(*tiers: str, kinds: str = EVERYTHING, wrappers: tuple[tuple[str, ...], ...] = ((),)) -> None:
    """Runs the programs whose names begin with a letter of ``kinds``; all tiers and users at once, for most wait."""
    entries = [entry for entry in read_corpus(ATTACKS) if entry.name.startswith(tuple(kinds))]
    by_time = {entry.name for entry in entries if "time_limit" in entry.allowed}
    at_once = []
    for limits, names in ((LONG, {entry.name for entry in entries} - by_time), (SHORT, by_time)):
        if names:
            only = f"only=[{','.join(sorted(names))}]"
            at_once += [(start(tier, only, *limits, wrapper=each), tier) for tier in tiers for each in wrappers]
    try:
        for process, tier in at_once:
            finish(process, tier)
    finally:
        for process, _ in at_once:
            process.kill()
            process.wait()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user, or less of a root, takes root")


def test_the_whole_corpus() -> None:
    run("namespaces", "landlock")


@needs_root
def test_an_ordinary_user_is_kept_as_safe() -> None:
    run("namespaces", "landlock", kinds=BY_IDENTITY, wrappers=(("--no-profile", USER),))


@needs_root
def test_the_landlock_tier_needs_nothing_that_a_container_lacks() -> None:
    run("landlock", kinds=BY_KERNEL, wrappers=((), (USER,)))


@needs_root
def test_corpora_at_the_same_time_do_not_disturb_each_other() -> None:
    some = "only=[c03,c05,c06,c08,l01,l03,x07,x09]"
    wrappers: tuple[tuple[str, ...], ...] = ((), (), ("--no-profile", USER), ("--no-profile", USER))
    for process in [start("landlock", some, *SHORT, wrapper=wrapper) for wrapper in wrappers]:
        finish(process, "landlock")
