"""Programs whose verdict is known: a slot or a service works for others only once these get the right one.

Their numbers are random each time, so that an answer to an earlier question does not pass.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.types import CodeTests, Outcome
from tracelift_ray.verification.errors import NoVerdict
from tracelift_ray.verification.sandbox.runs import run_tests
from tracelift_ray.verification.sandbox.slot import Slot

#: Limits of controls: they need little, and must not fail where those of runs are tight.
_CPU_S, _WALL_S, _MEMORY_MIB, _OUTPUT_KIB, _FILES = 5.0, 20.0, 512, 64, 64

_SUM = """
import colorsys, threading
threading.Thread(target=print, args=[sum(map(int, input().split()))]).start()
"""
_ADD = "def add(a, b):\n    return a + b + {error}\n"
#: What no program in a safe tier can do. It prints what it could.
_ESCAPE = """
import os, socket
done = []
for name, attempt in (
    ("fork", lambda: os.fork() or os._exit(0)),
    ("exec", lambda: os.execv("/bin/true", ["true"])),
    ("socket", lambda: socket.socket()),
    ("read", lambda: os.listdir("/proc/self")),
    ("write", lambda: open("/tmp/../x", "w")),
    ("signal", lambda: os.kill(os.getppid(), 0)),
):
    try:
        attempt()
    except OSError:
        continue
    done.append(name)
print(*done)
"""


@dataclass(frozen=True)
class Control:
    """A program, its tests, and what they must say."""

    name: str
    program: str
    tests: CodeTests
    outcome: Outcome


def controls(isolated: bool) -> Iterator[Control]:
    """The controls; ``isolated``: with one that tries to get out."""
    one, other = secrets.randbelow(10**6), secrets.randbelow(10**6)
    given, right, wrong = (f"{one} {other}\n",), (f"{one + other}\n",), (f"{one + other + 1}\n",)
    yield Control("a right program", _SUM, CodeTests("stdio", given, right), "passed")
    yield Control("a wrong program", _SUM, CodeTests("stdio", given, wrong), "wrong_answer")
    calls = CodeTests("function", asserts=(f"assert add({one}, {other}) == {one + other}",))
    yield Control("a right function", _ADD.format(error=0), calls, "passed")
    yield Control("a wrong function", _ADD.format(error=1), calls, "wrong_answer")
    if isolated:
        yield Control("a program that tries to get out", _ESCAPE, CodeTests("stdio", ("",), ("",)), "passed")


def check_slot(slot: Slot, config: SandboxConfig) -> None:
    """Run every control. Raises ``NoVerdict`` where one gets another verdict than it must."""
    limits = dataclasses.replace(
        config,
        cpu_s=_CPU_S,
        wall_s=_WALL_S,
        memory_mib=max(_MEMORY_MIB, config.memory_mib),
        output_kib=_OUTPUT_KIB,
        max_files=_FILES,
    )
    for control in controls(isolated=slot.policy.seccomp and slot.policy.landlock):
        verdict = run_tests(slot, limits, control.program, control.tests, stop_early=False)
        if verdict.outcome != control.outcome:
            slot.broken = True
            said = verdict.stderr.strip().rpartition("\n")[2] or verdict.detail
            raise NoVerdict(f"{control.name} was judged {verdict.outcome}, not {control.outcome} ({said})")
