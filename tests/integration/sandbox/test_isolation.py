"""Each layer is needed: without seccomp or without Landlock, attacks of the corpus that it stops succeed.

So the corpus can fail, and a layer that is silently missing would be noticed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sandboxes import sandbox_config
from tracelift_ray.verification.corpus.run import Finding, run_corpus
from tracelift_ray.verification.sandbox.policy import Policy
from tracelift_ray.verification.sandbox.pool import Sandbox

ATTACKS = Path(__file__).with_name("attacks")


def finding(attack: str, policy: Policy) -> Finding:
    """What one attack did under a policy."""
    config = sandbox_config(tier=policy.tier, cpu_s=2.0)
    first, *_ = run_corpus(ATTACKS, config, print, [attack], lambda config: Sandbox(config, 1, policy=policy))
    return first


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
@pytest.mark.parametrize(
    "attack", ["c03_write_outside", "c08_unix_sockets", "x09_new_processes", "x32_leave_by_dotdot"]
)
def test_with_all_layers_they_are_contained(tier: str, attack: str) -> None:
    assert not finding(attack, Policy(tier)).problems


@pytest.mark.parametrize("attack", ["c08_unix_sockets", "x09_new_processes", "x12_watch_others"])
def test_without_seccomp_programs_reach_sockets_and_start_processes(attack: str) -> None:
    found = finding(attack, Policy("landlock", seccomp=False))
    assert found.outcome == "wrong_answer" and "PWNED" in found.detail
    if attack.startswith("c08"):
        assert any(re.search("reached: '/tmp/sandbox_canary_[0-9a-f]+_ray/", each) for each in found.problems)


@pytest.mark.parametrize("attack", ["c03_write_outside", "x32_leave_by_dotdot"])
def test_without_landlock_programs_read_and_write_files(attack: str) -> None:
    found = finding(attack, Policy("landlock", landlock=False))
    assert found.outcome == "wrong_answer" and "PWNED" in found.detail
    touched = "appeared: {}/planted" if attack.startswith("c03") else "changed: {}/"
    pattern = touched.format("/tmp/sandbox_canary_[0-9a-f]+")
    assert any(re.match(pattern, each) for each in found.problems)


def test_seccomp_guards_namespaces_too() -> None:
    found = finding("x09_new_processes", Policy("namespaces", seccomp=False))
    assert found.outcome == "wrong_answer" and "fork" in found.detail
