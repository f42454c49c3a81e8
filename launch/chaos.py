"""Kills and stops the processes of a short run, one after another, and checks what became of it: ``seed=N``.

``python -m launch.chaos seed=0`` starts ``launch.train`` with a local Ray of its own in a run directory of its own. A
seed draws which kind of process is struck, by which signal, in which phase of the run. A driver that was killed, or
that ends with an error, is started again, as its user would. At the end the account of groups must be whole, the last
checkpoint be there, and no process be left; exit code 1 otherwise. Only processes that carry this command's marker in
their environment, which those of the run inherit, are ever signalled.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.rules import Count, Positive, PositiveCount
from tracelift_ray.errors import DataError, InfrastructureError

#: In the environment of every process that this command started.
MARKER = "TRACELIFT_CHAOS"
#: Kinds of processes: what their command line holds, and what names them on the console.
KINDS = {
    "engine": ("PlannerActor", r"planner\["),
    "executor": ("GeneratorActor", r"executor\["),
    "verifier": ("VerifierActor", r"verifier\["),
    "scorer": ("ReasoningRmActor", r"reasoning_rm\["),
    "learner": ("LearnerActor", r"learner: rank|rank 0"),
    "driver": ("launch.train", r"^$"),
}
#: Phases, by what the learner's rank is doing; ``start`` is before the first step of a start.
PHASES = {"start": r"__init__|\.start$", "rollout": r"Actor$", "update": r"\.update$"}
PHASES |= {"broadcast": r"weights$|\.score$", "save": r"\.save$"}
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
#: A driver that is stopped cannot say so; it goes on after so long, in seconds.
STOPPED_S = 8.0
#: Seconds between two looks at the run; in which all of its processes end after it; starts at most.
LOOK_S, END_S, MOST_STARTS = 0.01, 60.0, 12


@dataclass(frozen=True)
class ChaosConfig:
    """What is struck, and how long a wait may last."""

    seed: Count
    faults: PositiveCount
    steps: PositiveCount
    run_dir: str
    kinds: tuple[Literal["engine", "executor", "verifier", "scorer", "learner", "driver"], ...]
    signals: tuple[Literal["kill", "stop"], ...]
    patience_s: Positive
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Strike:
    """A fault to come."""

    kind: str
    by: str
    phase: str


@dataclass(frozen=True)
class Struck:
    """What became of one: seconds until the console named it and until a step that began later had ended."""

    strike: Strike
    step: int
    named_s: float | None
    recovered_s: float | None
    cause: str

    def line(self) -> str:
        """A row of the table of faults."""
        cells = [self.strike.phase, self.strike.kind, self.strike.by, f"{self.step}"]
        cells += ["-" if each is None else f"{each:.1f}" for each in (self.named_s, self.recovered_s)]
        return f"| {' | '.join(cells)} | {self.cause.replace('|', '/')[:140]} |"


def draw(command: ChaosConfig) -> list[Strike]:
    """The faults of a seed: kinds and signals take turns, in an order and in phases that it draws."""
    rng = Random(f"chaos/{command.seed}")
    pairs = [(kind, by) for kind in command.kinds for by in command.signals]
    rng.shuffle(pairs)
    phases = [phase for phase in PHASES if phase != "start"]
    strikes = [Strike(*pairs[n % len(pairs)], rng.choice(phases)) for n in range(command.faults)]
    if rng.random() < 0.4:  # a start is there to be struck before the first of all alone
        strikes[0] = Strike(strikes[0].kind, strikes[0].by, "start")
    return strikes


class Training:
    """The run: its present driver, the lines that all of its drivers said, and when."""

    def __init__(self, command: ChaosConfig) -> None:
        self.run_dir = Path(command.run_dir).absolute()
        self.marker = uuid.uuid4().hex
        self.starts = 0
        self.said: list[tuple[float, str]] = []
        self._steps = command.steps
        self._overrides = command.overrides
        self._found: dict[str, int | None] = {}
        self.start()

    def start(self) -> None:
        """Start the command, or start it again to go on."""
        if self.starts == MOST_STARTS:
            raise InfrastructureError("chaos", f"the run ended {MOST_STARTS} times before its end; see {self.log}")
        self.starts += 1
        self.makes_steps = False
        own = [f"run_dir={self.run_dir}", f"total_steps={self._steps}"]
        self.driver = subprocess.Popen(
            [sys.executable, "-m", "launch.train", *self._overrides, *own],
            env=os.environ | {MARKER: self.marker},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.driver,), daemon=True).start()

    @property
    def log(self) -> Path:
        """What all drivers said."""
        return self.run_dir.with_suffix(".log")

    def _read(self, driver: subprocess.Popen[str]) -> None:
        assert driver.stdout is not None
        for line in driver.stdout:
            self.said.append((time.time(), line.rstrip()))
            self.makes_steps |= re.match(r"step +\d+/\d+ .*reward", line) is not None and driver is self.driver
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line)

    def processes(self) -> Iterator[tuple[int, str]]:
        """Process ids and command lines of this run's own processes."""
        mark = f"{MARKER}={self.marker}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                own = mark in (folder / "environ").read_bytes() + b"\0"
            except OSError:
                continue
            if own and (line := title(int(folder.name))):  # empty once only the exit code is left
                yield int(folder.name), line

    def find(self, kind: str) -> int | None:
        """A process of a kind."""
        if kind == "driver":
            return self.driver.pid if self.driver.poll() is None else None
        known = self._found.get(kind)
        if known is None or KINDS[kind][0] not in title(known):  # a look at all processes is dear
            known = self._found[kind] = next((pid for pid, line in self.processes() if KINDS[kind][0] in line), None)
        return known

    def records(self) -> list[dict[str, float]]:
        """The records of training steps, in their order."""
        from tracelift_ray.tracking.history import TRAINING
        from tracelift_ray.tracking.jsonl import read_records

        path = self.run_dir / "metrics.jsonl"
        try:
            return [record for _, record in read_records(path) if record["kind"] == TRAINING]
        except (FileNotFoundError, DataError):  # not there yet, or being cut off by a start
            return []  # it is looked at again, and what is broken for good ends the account

    def ended(self) -> bool:
        """Whether the run is over. One that ended otherwise is started again."""
        code = self.driver.poll()
        if code:
            self.start()
        return code == 0

    def wait(self, what: Callable[[], bool], patience_s: float) -> bool:
        """Whether ``what`` came before the end of the run and of the patience."""
        ends = time.time() + patience_s
        while not what():
            if self.ended() or time.time() > ends:
                return False
            time.sleep(LOOK_S)
        return True

    def close(self) -> list[str]:
        """Command lines of processes that outlive the run by ``END_S``; they are ended."""
        ends = time.time() + END_S
        while (left := dict(self.processes())) and time.time() < ends:
            time.sleep(1.0)
        for pid in left:
            send(pid, signal.SIGKILL)
        return list(left.values())


def strike(training: Training, fault: Strike, patience_s: float) -> Struck | None:
    """Strike and wait until the run goes on; None where the run was over before."""

    def there() -> bool:
        learner = training.find("learner")
        if training.makes_steps == (fault.phase == "start") or learner is None:
            return False
        return bool(re.search(PHASES[fault.phase], title(learner))) and training.find(fault.kind) is not None

    if not training.wait(there, patience_s):
        return None
    pid, at = training.find(fault.kind), time.time()
    if pid is None or not send(pid, SIGNALS[fault.by]):
        return None
    step = int(max((record["step"] for record in training.records()), default=0)) + 1
    if (fault.kind, fault.by) == ("driver", "stop"):
        time.sleep(STOPPED_S)
        send(pid, signal.SIGCONT)
    # The step under way may end beside the fault; the one after it has begun after it.
    training.wait(lambda: sum(record["time"] > at for record in training.records()) > 1, patience_s)
    after = sorted(record["time"] for record in training.records() if record["time"] > at)
    pattern = re.compile(KINDS[fault.kind][1])
    named = next(((when, line) for when, line in training.said if when > at and pattern.search(line)), None)
    return Struck(
        fault,
        step,
        None if named is None else named[0] - at,
        after[1] - at if len(after) > 1 else None,
        "" if named is None else named[1],
    )


def title(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@entry_point("chaos")
def main(cfg: DictConfig) -> int:
    """Strike, wait for the end, print the account; 1 where it does not hold."""
    command = to_dataclass(ChaosConfig, cfg)
    if Path(command.run_dir).exists():
        raise InfrastructureError("chaos", f"run_dir={command.run_dir} is there already; choose another")
    training = Training(command)
    try:
        print("| phase | process | signal | step | named after s | goes on after s | cause |", flush=True)
        print("|---|---|---|---|---|---|---|", flush=True)
        struck = 0
        for fault in draw(command):
            found = strike(training, fault, command.patience_s)
            struck += found is not None
            print(found.line() if found else f"| {fault.phase} | {fault.kind} | {fault.by} | not struck |", flush=True)
        over = training.wait(training.ended, command.patience_s)
        return _report(training, over, command, struck)
    finally:
        if training.driver.poll() is None:
            send(training.driver.pid, signal.SIGTERM)
        for line in training.close():
            print(f"left, and ended: {line[:100]}")


def _report(training: Training, over: bool, command: ChaosConfig, struck: int) -> int:
    from tracelift_ray.tracking.account import account_of
    from tracelift_ray.tracking.run_dir import RunDirectory
    from tracelift_ray.training.checkpoint import newest_complete

    account = account_of(RunDirectory.create(training.run_dir))
    saved = newest_complete(training.run_dir / "checkpoints")
    print(
        f"seed {command.seed}: {struck} of {command.faults} faults struck, {training.starts} starts; "
        f"{account.steps} of {command.steps} steps, {account.groups} groups; {account.lost} lost, "
        f"{account.duplicated} duplicated, {account.unscored} unscored; {account.masked} traces masked"
    )
    broken = list(account.broken)
    if not over:
        broken.append(f"the run did not end in {command.patience_s:g} s; see {training.log}")
    if saved is None or saved.step != command.steps:
        broken.append(f"the newest checkpoint is not that of step {command.steps}")
    for line in broken:
        print(f"broken: {line}")
    return int(bool(broken) or not account.holds or account.steps != command.steps)


if __name__ == "__main__":
    main()
