"""Runs of a right and of a wrong program while the machine fails: how many get a verdict?

    python -m benchmarks.sandbox_faults [--runs 4] [--tier auto]

Five faults, so many runs each: fork servers are killed; they are stopped; no file in memory can be made; 40 busy
processes take the cores from a program that computes; no slot passes its controls. Every run has to end in an
infrastructure error. Prints how each ended; exit code 1 where one was scored.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from unittest import mock

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests
from tracelift_ray.verification.sandbox import controls, slot
from tracelift_ray.verification.sandbox.controls import Control
from tracelift_ray.verification.sandbox.pool import Sandbox

BUSY_PROCESSES = 40
LIMITS = SandboxConfig(
    runner="sandbox",
    service=None,
    tier="auto", slots=None, cores=(), cpu_s=2.0, wall_s=4.0, memory_mib=512, output_kib=256, file_mib=16,
    max_files=64, threads=64, preload=(), packages="",
)  # fmt: skip
ANSWER = CodeTests("stdio", ("",), ("42",))
WAITS = "import time; time.sleep(3); print({answer})"
COMPUTES = "n = 0\nfor i in range(10**8):\n    n += i\nprint({answer})"

Fault = Callable[[Sandbox], contextlib.AbstractContextManager[None]]


def _signalled(number: signal.Signals) -> Fault:
    """Every fork server gets a signal as soon as it serves."""

    @contextlib.contextmanager
    def fault(sandbox: Sandbox) -> Iterator[None]:
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(0.05):
                for pid in [each.pid for each in sandbox.slots]:
                    with contextlib.suppress(ProcessLookupError):
                        if pid is not None:
                            os.kill(pid, number)

        thread = threading.Thread(target=send)
        with mock.patch.object(slot, "REPORT_GRACE_S", 1.0):
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()

    return fault


@contextlib.contextmanager
def _memory_full(sandbox: Sandbox) -> Iterator[None]:
    """No file in memory can be made."""
    with mock.patch.object(os, "memfd_create", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        yield


@contextlib.contextmanager
def _starved(sandbox: Sandbox) -> Iterator[None]:
    """Others take the cores, each in a session of its own, since the kernel may share cores out by session."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    busy = [subprocess.Popen(command, start_new_session=True) for _ in range(BUSY_PROCESSES)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _control_fails(sandbox: Sandbox) -> Iterator[None]:
    """No slot tells right from wrong, so none is let in for the ones that are killed."""
    wrong = Control("a right program", "print(41)", ANSWER, "passed")
    with mock.patch.object(controls, "controls", lambda **_: iter([wrong])):
        for each in sandbox.slots:
            each.kill()
        with contextlib.suppress(InfrastructureError):
            sandbox.run(WAITS.format(answer=42), ANSWER)  # That they are dead shows when they are used.
        yield


FAULTS: dict[str, tuple[Fault, str]] = {
    "fork servers killed": (_signalled(signal.SIGKILL), WAITS),
    "fork servers stopped": (_signalled(signal.SIGSTOP), WAITS),
    "no memory for files": (_memory_full, WAITS),
    f"{BUSY_PROCESSES} busy processes": (_starved, COMPUTES),
    "controls failing": (_control_fails, WAITS),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4, help="of each fault; every other one of a wrong program")
    parser.add_argument("--tier", default="auto")
    options = parser.parse_args(arguments)
    scored = 0
    for name, (fault, program) in FAULTS.items():
        causes: dict[str, int] = {}
        for number in range(options.runs):
            ended = _run(fault, replace(LIMITS, tier=options.tier), program.format(answer=42 - number % 2))
            causes[ended] = causes.get(ended, 0) + 1
            scored += ended.startswith("scored")
        print(f"{name}: " + "; ".join(f"{count} x {cause}" for cause, count in causes.items()), flush=True)
    print(f"{scored} of {options.runs * len(FAULTS)} runs scored")
    return int(scored > 0)


def _run(fault: Fault, config: SandboxConfig, program: str) -> str:
    """How one run ends under a fault: the cause, or what it was scored."""
    sandbox = Sandbox(config, 2)
    try:
        with fault(sandbox):
            return f"scored: {sandbox.run(program, ANSWER).outcome}"
    except InfrastructureError as error:
        return error.cause
    finally:
        sandbox.close()


if __name__ == "__main__":
    sys.exit(main())
