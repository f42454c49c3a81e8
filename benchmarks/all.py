"""The whole bench: every part in a process by itself, within a bound, and what got slower since the last run.

    python -m benchmarks.all [--minutes 25] [--parts startup arms ...] [--model models/smollm2-135m-instruct]

Figures go to ``docs/results/bench.json`` and, as a table with the machine and the versions, to ``bench.md`` beside it
(``--out`` names another folder). Parts that do not run this time keep their figures of before. Printed at the end is
what got worse by more than ``--tolerance``; exit code 1 where a part failed. Parts with SmolLM2-135M run where
``--model`` is a directory.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.figures import Figure, of
from benchmarks.machine import ROOT, load, machine
from benchmarks.tables import markdown

OUT = ROOT / "docs" / "results"
#: Seconds in which a part that ran out of time ends in order.
GRACE_S = 30.0


@dataclass(frozen=True)
class Part:
    """One script: its arguments, the seconds that it may take, and whether it needs the model of ``--model``."""

    module: str
    arguments: tuple[str, ...]
    limit_s: float
    real: bool = False

    def command(self, model: str) -> list[str]:
        """Its command line after ``python``."""
        return ["-m", f"benchmarks.{self.module}", *self.arguments, *(["--model", model] if self.real else [])]


#: In this order, the quick and the important ones first. Together they stay below 25 minutes on two quiet cores.
PARTS: dict[str, Part] = {
    "startup": Part("startup", ("--rounds", "1"), 240),
    "arms": Part("arms", ("--rounds", "6"), 240),
    "schedule": Part("schedule", ("--rounds", "2"), 240),
    "generation": Part("generation", ("--rounds", "4"), 180),
    "learner": Part("learner", ("--rounds", "4"), 120),
    "asynchrony": Part("asynchrony", ("--steps", "4"), 180),
    "overlap": Part("overlap", ("--rounds", "1", "--steps", "4"), 150),
    "broadcast": Part("weight_broadcast", ("--rounds", "6"), 120),
    "broadcast_collective": Part("weight_broadcast", ("--rounds", "6", "--transfer", "collective"), 120),
    "sandbox": Part("sandbox", ("--rounds", "2", "--seconds", "4"), 180),
    "controller": Part("controller", ("--traces", "4096"), 60),
    "controller_ray": Part("controller", ("--traces", "4096", "--ray"), 90),
    "learner_real": Part("learner", ("--rounds", "2"), 180, real=True),
    "generation_real": Part("generation", ("--rounds", "2"), 300, real=True),
    "arms_real": Part("arms", ("--rounds", "1"), 420, real=True),
}


@dataclass(frozen=True)
class Result:
    """What became of a part.

    Attributes:
        failure: why it has no figures; empty where it has.
        load: the load average before it and after it.
    """

    command: str
    figures: tuple[Figure, ...]
    seconds: float
    load: str
    failure: str = ""


def run(part: Part, model: str, limit_s: float) -> Result:
    """Run a part in a process by itself; one that takes too long is ended."""
    command, before, began = part.command(model), load(), monotonic()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "figures.json"
        # A session of its own, so that all that it started can be ended with it.
        process = subprocess.Popen(
            [sys.executable, *command, "--json", str(path)], cwd=ROOT, start_new_session=True, env=_environment()
        )
        code: int | str = _ended(process, limit_s)
        took, around = monotonic() - began, f"{before} to {load()}"
        shown = " ".join(["python", *command])
        if code != 0 or not path.exists():
            why = f"{code}" if isinstance(code, str) else f"exit code {code}"
            return Result(shown, (), took, around, why)
        return Result(shown, tuple(map(of, json.loads(path.read_text()))), took, around)


def _environment() -> dict[str, str]:
    """One thread for each process, as actors have it, and no progress bars; the caller's own settings win."""
    return {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", **os.environ}


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> int | str:
    """The exit code, or words where the time was up."""
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"not over after {limit_s:.0f} s"
    except BaseException:  # Ctrl-C, which propagates: the part, in a session of its own, would not get it
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise


def run_all(names: list[str], model: str, minutes: float) -> Iterator[tuple[str, Result]]:
    """Parts one after the other, as far as the time goes."""
    ends = monotonic() + 60 * minutes
    for name in names:
        part, left = PARTS[name], ends - monotonic()
        if part.real and not Path(model).is_dir():
            print(f"{name}: left out, {model} is no directory (make smollm2)", flush=True)
            continue
        if left < 10:
            print(f"{name}: left out, the {minutes:g} minutes are over (--minutes)", flush=True)
            continue
        print(f"== {name}: {' '.join(['python', *part.command(model)])}", flush=True)
        yield name, run(part, model, min(part.limit_s, left))


def slower(former: Mapping[str, Any], results: Mapping[str, Result], tolerance: float) -> list[str]:
    """What got worse by more than ``tolerance``, a share, in lines, the worst first."""
    known = {f["name"]: of(f) for part in former.get("parts", {}).values() for f in part["figures"]}
    worse = []
    for result in results.values():
        for figure in result.figures:
            before = known.get(figure.name)
            if before is not None and (share := figure.slower_than(before)) > tolerance:
                line = f"{figure.name}: {before.value:.3g} -> {figure.value:.3g} {figure.unit} ({share:.0%} worse)"
                worse.append((share, line))
    return [line for _, line in sorted(worse, reverse=True)]


def merged(former: Mapping[str, Any], results: Mapping[str, Result]) -> dict[str, Any]:
    """The document: parts that ran, and those of before that did not."""
    when = {"at": datetime.now(UTC).isoformat(timespec="minutes"), "machine": machine()}
    ran = {name: {**asdict(result), **when} for name, result in results.items()}
    kept = {name: part for name, part in former.get("parts", {}).items() if name in PARTS and name not in ran}
    return {"parts": {name: (ran | kept)[name] for name in PARTS if name in ran | kept}}


def main() -> None:
    """Run, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--model", default="models/smollm2-135m-instruct")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of bench.json and bench.md")
    parser.add_argument("--tolerance", type=float, default=0.1)
    options = parser.parse_args()
    path = options.out / "bench.json"
    former = json.loads(path.read_text()) if path.exists() else {}
    results = dict(run_all(options.parts, options.model, options.minutes))
    document = merged(former, results)
    path.write_text(json.dumps(document, indent=1) + "\n")
    (options.out / "bench.md").write_text(markdown(document))
    print(f"== written: {path} and bench.md")
    for line in slower(former, results, options.tolerance) or ["nothing got slower"]:
        print(line)
    failed = [f"{name} failed: {result.failure}" for name, result in results.items() if result.failure]
    print(*failed, sep="\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
