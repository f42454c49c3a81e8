"""The sandbox against one Python process for each test.

    python -m benchmarks.sandbox [--workers 2] [--seconds 10] [--rounds 3] [--tier auto]

Both run the same programs and tests. The other side is what verifiers commonly do: ``subprocess.run([python, file])``
for each test, with rlimits, one after another; and, to be fair to it, the same for as many programs at a time as there
are workers, and with an interpreter that starts without its packages. For function tests the file is the program, the
set-up and one assert. Printed are tests per second, CPU time for a test (all processes together; it depends less on
what else the machine does), and the ratios, for programs that read stdin and for function tests; rounds alternate
between the sides, each prints a line as soon as it is over, and the medians count.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import Figure, deliver, parser
from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.types import CodeTests
from tracelift_ray.verification.sandbox.pool import Sandbox

LIMITS = SandboxConfig(
    runner="sandbox",
    service=None,
    tier="auto", slots=None, cores=(), cpu_s=2.0, wall_s=10.0, memory_mib=1024, output_kib=256, file_mib=16,
    max_files=64, threads=64, preload=(), packages="",
)  # fmt: skip
SUMS = CodeTests("stdio", tuple(f"3\n{i} 2 3\n" for i in range(8)), tuple(f"{i + 5}\n" for i in range(8)))
SUM = "import sys\n\ndata = sys.stdin.read().split()\nprint(sum(map(int, data[1:])))\n"
PRIMES = CodeTests(
    "function",
    asserts=("assert primes(9) == [2, 3, 5, 7]", "assert primes(2) == []", "assert sum(primes(31)) == 129"),
)
PRIME = "def primes(n):\n    return [p for p in range(2, n) if all(p % q for q in range(2, p))]\n"

KINDS = {"stdin": (SUM, SUMS), "function": (PRIME, PRIMES)}

#: Runs one program with all of its tests; True where all passed.
Judge = Callable[[str, CodeTests], bool]


def limits() -> None:
    """What the process for a test may use."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (2, 3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, 1 << 24))


def a_process_each(flags: tuple[str, ...]) -> Judge:
    """One ``subprocess.run`` for each test."""

    def judge(program: str, tests: CodeTests) -> bool:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "program.py"
            for index in range(len(tests)):
                stdio = tests.kind == "stdio"
                file.write_text(program if stdio else f"{program}\n{tests.setup}\n{tests.asserts[index]}\n")
                done = subprocess.run(
                    [sys.executable, *flags, str(file)],
                    input=tests.inputs[index] if stdio else "",
                    capture_output=True, text=True, timeout=10, preexec_fn=limits, cwd=directory, check=False,
                )  # fmt: skip
                if done.returncode != 0 or (stdio and done.stdout.split() != tests.outputs[index].split()):
                    return False
        return True

    return judge


@dataclass(frozen=True)
class Cost:
    """Tests per second, and CPU milliseconds for a test."""

    rate: float
    cpu_ms: float

    def __str__(self) -> str:
        return f"{self.rate:6.0f} tests/s {self.cpu_ms:6.2f} ms CPU"


def cpu_seconds() -> float:
    """CPU time of this process, of its children that have ended, and of all processes below it and theirs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    todo = [os.getpid()]
    while todo:
        process = todo.pop()
        with contextlib.suppress(OSError):  # It may end meanwhile.
            if process != os.getpid():
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            for task in Path(f"/proc/{process}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return total


def cost_of(judge: Judge, program: str, tests: CodeTests, workers: int, seconds: float) -> Cost:
    """What it takes ``workers`` threads to get through programs, each a little different, that all pass."""
    numbers = itertools.count()
    done = [0] * workers
    failed: list[str] = []
    end = time.monotonic() + seconds

    def work(worker: int) -> None:
        while time.monotonic() < end and not failed:
            if not judge(f"# {next(numbers)}\n{program}", tests):
                failed.append("a right program did not pass")
            done[worker] += len(tests)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    began, cpu_before = time.monotonic(), cpu_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(failed[0])
    return Cost(sum(done) / (time.monotonic() - began), 1000 * (cpu_seconds() - cpu_before) / sum(done))


def compare(judges: dict[str, tuple[Judge, int]], seconds: float, rounds: int, kind: str) -> dict[str, Cost]:
    """The median cost of each judge with its workers; rounds alternate between the judges."""
    program, tests = KINDS[kind]
    costs: dict[str, list[Cost]] = {name: [] for name in judges}
    for number in range(1, rounds + 1):
        for name, (judge, workers) in judges.items():
            costs[name].append(cost_of(judge, program, tests, workers, seconds))
            print(f"{kind:9} round {number} {name:40} {costs[name][-1]}", flush=True)
    return {
        name: Cost(statistics.median(each.rate for each in one), statistics.median(each.cpu_ms for each in one))
        for name, one in costs.items()
    }


def main() -> None:
    """Measure and print."""
    command = parser(__doc__)
    command.add_argument("--workers", type=int, default=2)
    command.add_argument("--seconds", type=float, default=10.0, help="of each round and judge")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--tier", default="auto")
    options = command.parse_args()
    sandbox = Sandbox(replace(LIMITS, tier=options.tier), options.workers)
    ours = f"sandbox ({sandbox.tier}), {options.workers} slots"
    at_a_time = f"{options.workers} at a time"
    rival = f"a process each, {at_a_time}"
    judges: dict[str, tuple[Judge, int]] = {
        "a process each, one after another": (a_process_each(()), 1),
        rival: (a_process_each(()), options.workers),
        f"a process each, -I -S, {at_a_time}": (a_process_each(("-I", "-S")), options.workers),
        ours: (lambda program, tests: sandbox.run(program, tests).passed, options.workers),
    }
    found: list[Figure] = []
    try:
        for kind in KINDS:
            costs = compare(judges, options.seconds, options.rounds, kind)
            for name, cost in costs.items():
                rate, cpu = costs[ours].rate / cost.rate, cost.cpu_ms / costs[ours].cpu_ms
                ratios = f"{rate:4.1f} times the rate, {cpu:4.1f} times less CPU"
                print(f"{kind:9} median  {name:40} {cost}; the sandbox has {ratios}", flush=True)
            faster = costs[ours].rate / costs[rival].rate
            found.append(Figure(f"sandbox, {kind} tests/s / {rival}", faster, "ratio", "higher"))
            found.append(Figure(f"sandbox, {kind} CPU of a test", costs[ours].cpu_ms, "ms", "lower", note=ours))
    finally:
        sandbox.close()
    deliver(options, found)


if __name__ == "__main__":
    main()
