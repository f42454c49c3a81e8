"""In which order the processes of a run are ended."""

from __future__ import annotations

import os
import socket

import pytest

from tracelift_ray.verification.sandbox.inside import seccomp
from tracelift_ray.verification.sandbox.inside.confine import Confinement
from tracelift_ray.verification.sandbox.inside.run import Run


def test_at_a_limit_the_tests_end_before_the_program_whose_end_they_would_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = socket.socketpair()
    confinement = Confinement(None, None, seccomp.Filter(seccomp.assemble(metadata=False)), os.getpid())
    run = Run(one, confinement, {"id": 1, "cpu_s": 1.0, "wall_s": 1.0}, ())
    run._pids = [111, 222]  # the program, then its tests
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: ended.append(pid))
    run._kill("wall")
    one.close()
    other.close()
    assert ended == [222, 111]
