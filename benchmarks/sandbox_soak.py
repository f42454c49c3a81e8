"""Many honest runs beside attacks: does anything flake, and does anything grow?

    python -m benchmarks.sandbox_soak [--benign 10000] [--attacks 300] [--slots 2] [--tier auto]

Programs of the test corpus run in random order, as many at a time as there are slots. After every 1,000 runs a line
says how many processes and descriptors there are, and how much memory of its own each process that stays has: this one,
and the fork server of each slot. At the end come runs without a verdict, honest programs that did not pass and attacks
whose verdict is not allowed. Exit code 1 where there are any of the last two; an attack may end without a verdict where
the machine is too busy to run it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.verification.corpus.canaries import Canaries, canaries
from tracelift_ray.verification.corpus.manifest import Entry, read_corpus
from tracelift_ray.verification.corpus.run import aimed
from tracelift_ray.verification.sandbox.pool import Sandbox

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "integration" / "sandbox" / "attacks"
#: Honest programs that take long or much; there are enough of the others.
HEAVY = ("b03", "b10", "b13", "b16", "b18", "z04", "z05", "z12")
#: Attacks in pairs belong on one slot, one after the other, and one needs a limit of its own.
PAIRED = ("c20", "c21", "c23", "k03")
#: Runs from one look at memory to the next.
EVERY = 1000
LIMITS = SandboxConfig(
    runner="sandbox",
    service=None,
    tier="auto", slots=None, cores=(), cpu_s=1.0, wall_s=10.0, memory_mib=512, output_kib=8192, file_mib=16,
    max_files=64, threads=64, preload=(), packages="",
)  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """What this process and all below it hold.

    Attributes:
        own_mib: memory of its own, of this process.
        servers_mib: the same, of the fork server of each slot; 0 for one that is being replaced.
    """

    own_mib: float
    servers_mib: tuple[float, ...]
    descriptors: int
    processes: int

    def __str__(self) -> str:
        servers = " + ".join(f"{each:.1f}" for each in self.servers_mib)
        memory = f"{self.own_mib:.1f} MiB here, {servers} MiB in fork servers"
        return f"{memory}, {self.descriptors} descriptors, {self.processes} processes"


def usage(sandbox: Sandbox) -> Usage:
    """Now; nothing runs meanwhile."""
    descriptors, processes = 0, 0
    todo = [os.getpid()]
    while todo:
        process = todo.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
            descriptors += len(os.listdir(f"/proc/{process}/fd"))
            processes += 1
    servers = tuple(own_mib(slot.pid) for slot in sandbox.slots)
    return Usage(own_mib(os.getpid()), servers, descriptors, processes)


def own_mib(process: int | None) -> float:
    """Memory that a process shares with no other; 0 where there is no such process."""
    with contextlib.suppress(OSError):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:")) / 1024
    return 0.0


class Soak:
    """Runs programs and counts what should not be."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self.bad: Counter[str] = Counter()
        self.without: Counter[str] = Counter()

    def run(self, job: tuple[int, Entry]) -> None:
        number, entry = job
        program = entry.program if entry.category == "cheat" else f"{entry.program}\n# {number}\n"
        try:
            outcome: str = self._sandbox.run(program, entry.tests).outcome
        except InfrastructureError as error:
            honest = entry.category.startswith("benign")
            with self._lock:
                (self.bad if honest else self.without)[f"{entry.name}: {error.cause}"] += 1
            return
        if outcome not in entry.allowed:
            with self._lock:
                self.bad[f"{entry.name}: {outcome}"] += 1


def jobs(benign: int, attacks: int, tier: str, watched: Canaries) -> list[tuple[int, Entry]]:
    """Programs in random order, the same at every call; an attack comes every so many honest ones."""
    entries = [aimed(each, watched) for each in read_corpus(CORPUS) if not each.tiers or tier in each.tiers]
    honest = [e for e in entries if e.category.startswith("benign") and not e.name.startswith(HEAVY)]
    hostile = [e for e in entries if not e.category.startswith("benign") and not e.name.startswith(PAIRED)]
    draw = random.Random(0)
    chosen = draw.choices(honest, k=benign) + [hostile[i % len(hostile)] for i in range(attacks)]
    draw.shuffle(chosen)
    return list(enumerate(chosen))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benign", type=int, default=10_000)
    parser.add_argument("--attacks", type=int, default=300)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--tier", default="auto")
    options = parser.parse_args(arguments)
    with canaries() as watched:
        sandbox = Sandbox(replace(LIMITS, tier=options.tier), options.slots)
        soak = Soak(sandbox)
        todo = jobs(options.benign, options.attacks, sandbox.tier, watched)
        try:
            began = time.monotonic()
            with ThreadPoolExecutor(options.slots) as threads:
                for start, end in itertools.pairwise([*range(0, len(todo), EVERY), len(todo)]):
                    list(threads.map(soak.run, todo[start:end]))
                    print(f"after {end} runs, {time.monotonic() - began:.0f} s: {usage(sandbox)}", flush=True)
            counts = sandbox.counts
        finally:
            sandbox.close()
        breaches = watched.breaches()
    print(f"tier {sandbox.tier}: {options.benign} honest programs, {options.attacks} attacks")
    print(f"runs without a verdict at first: {counts.no_verdicts}; slots restarted: {counts.restarts}")
    for name, count in soak.without.items():
        print(f"  no verdict, twice: {name} ({count})")
    for name, count in (*soak.bad.items(), *((breach, 1) for breach in breaches)):
        print(f"  not as it should be: {name} ({count})")
    print(f"{sum(soak.bad.values()) + len(breaches)} not as they should be")
    return int(bool(soak.bad or breaches))


if __name__ == "__main__":
    sys.exit(main())
