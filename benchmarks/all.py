"""The whole bench: every part in a process by itself, within its share of the time, and what got slower since.

    python -m benchmarks.all [--minutes 25] [--parts startup arms ...] [--model models/smollm2-135m-instruct]

On a slower machine parts measure fewer rounds, one at least. Figures go to ``docs/results/bench.json`` and, as a table
with the machine and the versions, to ``bench.md`` beside it (``--out`` names another folder). Parts that do not run
this time, or fail, keep their figures of before. Printed at the end is what got worse by more than ``--tolerance``;
exit code 1 where a part failed. Parts with SmolLM2-135M run where ``--model`` is a directory.
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
from launch.fetch_smollm2 import DEFAULT_DIRECTORY

OUT = ROOT / "docs" / "results"
#: Seconds in which a part that ran out of time ends in order.
GRACE_S = 30.0
#: Of its share of the time a part may take so many times as much before it is ended,
PATIENCE = 2.5
#: and so much of it is for rounds; the rest for imports before them and for the end.
ROUNDS = 0.85


@dataclass(frozen=True)
class Part:
    """One script.

    Attributes:
        about_s: what it takes with all its rounds, on two quiet cores without AVX-512.
        adapts: whether it leaves out rounds for which the time is too short.
        real: whether it needs the model of ``--model``.
    """

    module: str
    arguments: tuple[str, ...]
    about_s: float
    adapts: bool = False
    real: bool = False

    def command(self, model: str, share_s: float) -> list[str]:
        """Its command line after ``python``, with ``share_s`` seconds for it."""
        within = ("--within", f"{ROUNDS * share_s:.0f}") if self.adapts else ()
        return ["-m", f"benchmarks.{self.module}", *self.arguments, *within, *(["--model", model] if self.real else [])]


#: In this order, the quick and the important ones first. Together they stay below 25 minutes on two quiet cores.
PARTS: dict[str, Part] = {
    "startup": Part("startup", ("--rounds", "3"), 150, adapts=True),
    "arms": Part("arms", ("--rounds", "5"), 110, adapts=True),
    "schedule": Part("schedule", ("--rounds", "2"), 80, adapts=True),
    "generation": Part("generation", ("--rounds", "3"), 100, adapts=True),
    "learner": Part("learner", ("--rounds", "4"), 50, adapts=True),
    "asynchrony": Part("asynchrony", ("--steps", "4"), 20),
    "overlap": Part("overlap", ("--rounds", "1", "--steps", "4"), 120, adapts=True),
    "broadcast": Part("weight_broadcast", ("--rounds", "4"), 65),
    "broadcast_collective": Part("weight_broadcast", ("--rounds", "4", "--transfer", "collective"), 65),
    "broadcast_small": Part("weight_broadcast", ("--rounds", "4", "--layers", "8"), 50),
    "sandbox": Part("sandbox", ("--rounds", "2", "--seconds", "3"), 60),
    "controller": Part("controller", ("--traces", "4096"), 12),
    "controller_ray": Part("controller", ("--traces", "4096", "--ray"), 36),
    "learner_real": Part("learner", ("--rounds", "2"), 110, adapts=True, real=True),
    "generation_real": Part("generation", ("--rounds", "2"), 190, adapts=True, real=True),
    "arms_real": Part("arms", ("--rounds", "2"), 320, adapts=True, real=True),
}


@dataclass(frozen=True)
class Result:
    """What became of a part.

    Attributes:
        at: when it began.
        load: the load average before it and after it.
        failure: why it has no figures; empty where it has.
    """

    command: str
    figures: tuple[Figure, ...]
    seconds: float
    load: str
    at: str = ""
    failure: str = ""


def run(part: Part, model: str, share_s: float, limit_s: float) -> Result:
    """Run a part in a process by itself, with ``share_s`` seconds for it; after ``limit_s`` it is ended."""
    command, before, began = part.command(model, share_s), load(), monotonic()
    at = datetime.now(UTC).isoformat(timespec="minutes")
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
            return Result(shown, (), took, around, at, why)
        return Result(shown, tuple(map(of, json.loads(path.read_text()))), took, around, at)


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
    """Parts one after the other, as far as the time goes, of which each has its share of what is left."""
    ends, missing = monotonic() + 60 * minutes, not Path(model).is_dir()
    chosen = [name for name in names if not (missing and PARTS[name].real)]
    for name in names:
        if name not in chosen:
            print(f"{name}: left out, {model} is no directory (make smollm2)", flush=True)
    for place, name in enumerate(chosen):
        part, left = PARTS[name], ends - monotonic()
        if left < 10:
            print(f"{name}: left out, the {minutes:g} minutes are over (--minutes)", flush=True)
            continue
        share = left * part.about_s / sum(PARTS[each].about_s for each in chosen[place:])
        print(f"== {name}: {' '.join(['python', *part.command(model, share)])}", flush=True)
        yield name, run(part, model, share, min(PATIENCE * share, left))


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
    """The document: parts that ran, and those of before that did not or that failed now."""
    known = {name: part for name, part in former.get("parts", {}).items() if name in PARTS}
    here = machine()
    for name, result in results.items():
        if result.failure and name in known:
            known[name] = {**known[name], "failure": result.failure}
        else:
            known[name] = {**asdict(result), "machine": here}
    return {"parts": {name: known[name] for name in PARTS if name in known}}


def main() -> None:
    """Run, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--model", default=str(DEFAULT_DIRECTORY))
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
