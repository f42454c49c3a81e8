"""Runs a corpus through a sandbox and says what is not as it should be.

A program is as it should be when its outcome is allowed and comes in time (where the machine has a core for it),
nothing that the canaries watch was touched, no process outlived it, and the slot still tells right from wrong.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests
from tracelift_ray.verification.corpus.canaries import Canaries, canaries
from tracelift_ray.verification.corpus.manifest import Entry, read_corpus
from tracelift_ray.verification.sandbox.pool import Sandbox

NO_VERDICT = "no_verdict"
#: Tries at a verdict: a machine that is busy for a while is no fault of the sandbox, an attack works every time.
TRIES = 3
#: How long an ended run's processes may take to be gone.
REAPED_WITHIN_S = 3.0
#: A program that left something running may act so much later.
AFTERWARDS_S = 5.0
_CONTROL = CodeTests("stdio", inputs=("6 7",), outputs=("42",))
_RIGHT = "a, b = map(int, input().split())\nprint(a * b)"
_WRONG = "print(41)"


@dataclass(frozen=True)
class Finding:
    """The result of one program. ``problems`` is empty where nothing is wrong."""

    entry: Entry
    outcome: str
    wall_s: float
    detail: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{'ok ' if not self.problems else 'BAD'} {self.entry.name:32} {self.outcome:16} {self.wall_s:5.2f} s"
        if not self.problems:
            return head
        words = f" ({self.detail})" if self.detail else ""
        return f"{head}  {'; '.join(self.problems)}{words}; what it tries: {self.entry.why or self.entry.category}"


def run_corpus(
    directory: Path,
    config: SandboxConfig,
    report: Callable[[str], None],
    only: Sequence[str] = (),
    sandbox: Callable[[SandboxConfig], Sandbox] | None = None,
) -> tuple[Finding, ...]:
    """Run the corpus in ``directory``, one program at a time on one slot.

    Args:
        config: limits and tier; an entry may bring its own CPU limit.
        report: gets one line for each program, and one at the end.
        only: beginnings of file names; empty: all.
        sandbox: makes the sandbox with one slot, where it should not be the usual one.

    Raises:
        DataError: the manifest is unusable.
        InfrastructureError: no sandbox could be started, or the canaries could not be set up.
    """
    entries = [each for each in read_corpus(directory) if not only or each.name.startswith(tuple(only))]
    findings = []
    with canaries() as watched, contextlib.ExitStack() as stack:
        runner = _Runner(config, sandbox or (lambda config: Sandbox(config, 1)), watched)
        stack.callback(runner.close)
        for entry in entries:
            finding = runner.run(aimed(entry, watched))
            findings.append(finding)
            report(str(finding))
        late = runner.afterwards()
        if late is not None:
            findings.append(late)
            report(str(late))
    bad = sum(bool(finding.problems) for finding in findings)
    report(f"tier {runner.tier}, user {os.geteuid()}: {len(findings) - bad} of {len(findings)} as they should be")
    return tuple(findings)


def aimed(entry: Entry, watched: Canaries) -> Entry:
    """The entry with its programs after these canaries."""
    before = entry.before and (watched.aim(entry.before[0]), entry.before[1])
    return replace(entry, program=watched.aim(entry.program), before=before)


class _Runner:
    """Runs entries one after another, on a sandbox for each CPU limit."""

    def __init__(self, config: SandboxConfig, make: Callable[[SandboxConfig], Sandbox], watched: Canaries) -> None:
        self._make = make
        self._config = config
        self._watched = watched
        self._sandboxes: dict[float, Sandbox] = {}
        self._processes = 0
        self._last_of_lifetime: tuple[Entry, float] | None = None
        self.tier = self._sandbox(config.cpu_s).tier

    def close(self) -> None:
        for sandbox in self._sandboxes.values():
            sandbox.close()

    def run(self, entry: Entry) -> Finding:
        """Run one program, then look at what it did to its surroundings."""
        sandbox = self._sandbox(entry.cpu_s or self._config.cpu_s)
        if entry.before is not None:
            with contextlib.suppress(InfrastructureError):
                sandbox.run(*entry.before)
        for _ in range(TRIES):
            started = time.monotonic()
            outcome, detail = _outcome(sandbox, entry.program, entry.tests)
            wall_s = time.monotonic() - started
            if outcome != NO_VERDICT:
                break
        if entry.category == "lifetime":
            self._last_of_lifetime = entry, time.monotonic()
        problems = self._watched.breaches()
        if outcome not in entry.allowed and (not entry.tiers or self.tier in entry.tiers):
            problems.append(f"allowed: {', '.join(entry.allowed)}")
        if wall_s > entry.max_wall_s and os.getloadavg()[0] < len(os.sched_getaffinity(0)) + 1:
            problems.append(f"a verdict was due within {entry.max_wall_s:g} s")
        problems += self._left_running()
        for program, wanted in ((_RIGHT, "passed"), (_WRONG, "wrong_answer")):
            found, cause = _outcome(sandbox, program, _CONTROL)
            if found != wanted:
                problems.append(f"after it a control gets {found} ({cause}), not {wanted}")
        return Finding(entry, outcome, wall_s, detail, tuple(problems))

    def afterwards(self) -> Finding | None:
        """What showed up late of programs that tried to outlive their run."""
        if self._last_of_lifetime is None:
            return None
        entry, when = self._last_of_lifetime
        time.sleep(max(0.0, when + AFTERWARDS_S - time.monotonic()))
        problems = self._watched.breaches()
        late = replace(entry, name="(afterwards)", why="something that a program left behind")
        return Finding(late, "", time.monotonic() - when, "", tuple(problems)) if problems else None

    def _sandbox(self, cpu_s: float) -> Sandbox:
        if cpu_s not in self._sandboxes:
            config = replace(self._config, cpu_s=cpu_s, wall_s=max(self._config.wall_s, 2 * cpu_s), slots=1)
            self._sandboxes[cpu_s] = self._make(config)
            self._processes = len(_descendants())
        return self._sandboxes[cpu_s]

    def _left_running(self) -> list[str]:
        deadline = time.monotonic() + REAPED_WITHIN_S
        while (extra := len(_descendants()) - self._processes) > 0 or (lost := _lost()):
            if time.monotonic() > deadline:
                return [f"{extra} processes more than before it" if extra > 0 else f"outlived its run: process {lost}"]
            time.sleep(0.02)
        return []


def _outcome(sandbox: Sandbox, program: str, tests: CodeTests) -> tuple[str, str]:
    try:
        verdict = sandbox.run(program, tests)
    except InfrastructureError as error:
        return NO_VERDICT, error.cause
    return verdict.outcome, verdict.detail


def _descendants() -> set[int]:
    """All processes below this one."""
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        for task in _names(Path(f"/proc/{todo.pop()}/task")):
            with contextlib.suppress(OSError):
                children = [int(child) for child in (task / "children").read_text().split()]
                todo += children
                found.update(children)
    return found


def _lost() -> int:
    """A process that was forked from one of ours and taken over by init; 0 where there is none."""
    ours = {_command(process) for process in _descendants()} - {b""}
    for directory in _names(Path("/proc")):
        if directory.name.isdigit() and _command(int(directory.name)) in ours:
            with contextlib.suppress(OSError):
                if "\nPPid:\t1\n" in (directory / "status").read_text():
                    return int(directory.name)
    return 0


def _command(process: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _names(directory: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from directory.iterdir()
