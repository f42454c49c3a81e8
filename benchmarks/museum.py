"""Which bugs the unit tests notice, and which the simulation: each mutant in a copy of the project, never in place.

Writes ``docs/results/museum.md``. ``--only`` takes part of a mutant's description::

    python -m benchmarks.museum [--seeds 200] [--only TEXT] [--processes 2]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "results" / "museum.md"
COPIED = ("tracelift_ray", "launch", "conf", "tests", "benchmarks", "setup.cfg", "pyproject.toml")
TESTS_S, SEEDS_S = 600.0, 900.0


@dataclass(frozen=True)
class Finding:
    """What noticed a mutant: the first unit test that failed, and the first seed with the rule that it broke."""

    mutant: Mutant
    test: str
    seed: str


def first_failing_seed(seeds: int) -> str:
    """The first seed that breaks a rule in this copy of the project, and the rule; empty where none does."""
    from launch.composition import composed
    from tracelift_ray.planning.run_config import to_run_config
    from tracelift_ray.simulation.run import simulate

    base = to_run_config(composed("config", ["experiment=quickstart"]))
    for seed in range(seeds):
        violation = simulate(base, seed).violation
        if violation:
            return f"{seed}: {violation.partition(':')[0]}"
    return ""


@contextmanager
def copied(mutant: Mutant) -> Iterator[Path]:
    """A copy of the project with the bug in it."""
    with tempfile.TemporaryDirectory(prefix="tracelift-museum-") as name:
        copy = Path(name)
        for each in COPIED:
            source = ROOT / each
            if source.is_dir():
                shutil.copytree(source, copy / each, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
        (copy / "tracelift_ray" / mutant.file).write_text(mutant.applied(copy / "tracelift_ray"), "utf-8")
        yield copy


def examine(mutant: Mutant, seeds: int) -> Finding:
    """Run the unit tests that are nearest to a bug, and the seeds, in a copy that has it."""
    with copied(mutant) as copy:
        finding = Finding(mutant, failing_test(copy, mutant.tests), failing_seed(copy, seeds))
    print(f"{mutant.bug} | {finding.test or 'no test'} | {finding.seed or 'no seed'}", flush=True)
    return finding


def report(findings: list[Finding], seeds: int) -> str:
    """The page of results."""
    tests, simulated = (sum(map(bool, each)) for each in zip(*((f.test, f.seed) for f in findings), strict=True))
    rows = [
        f"| {f.mutant.bug} | `{f.mutant.file}` | {f'`{f.test}`' if f.test else 'none'} | {f.seed or 'none'} |"
        for f in findings
    ]
    return "\n".join(
        [
            "# The bug museum",
            "",
            f"Written by `python -m benchmarks.museum --seeds {seeds}`. Each of {len(findings)} bugs that trainers",
            "of this kind have had is put into this project's code by one replacement (`benchmarks/mutants.py`), in a",
            "copy; there the unit tests nearest to it run, those of the simulation left out, and the simulation's",
            "seeds from 0 up to the first that breaks a rule ([simulation](../simulation.md)).",
            "",
            f"**Noticed by the unit tests: {tests} of {len(findings)}; by the simulation: {simulated}.**",
            "",
            "| bug | file | first unit test that fails | first seed, and the rule that it breaks |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def failing_test(copy: Path, tests: Sequence[str]) -> str:
    """The first unit test that fails in a copy; empty where none does."""
    paths = [f"tests/unit/{each}" for each in tests]
    done = _run(copy, TESTS_S, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "timeout=60", *paths)
    failed = [line for line in done.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split()[1].partition("::")[2] if failed else ""


def failing_seed(copy: Path, seeds: int) -> str:
    """What ``first_failing_seed`` finds in a copy."""
    code = f"from benchmarks.museum import first_failing_seed; print('found', first_failing_seed({seeds}))"
    *_, last = _run(copy, SEEDS_S, "-c", code).splitlines() or [""]
    if not last.startswith("found"):
        raise RuntimeError(f"the seeds did not run: {last}")
    return last.removeprefix("found").strip()


def _run(copy: Path, deadline_s: float, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, capture_output=True, text=True, timeout=deadline_s, check=False
    )
    return done.stdout or done.stderr


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--only", default="")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.bug]
    with ThreadPoolExecutor(options.processes) as threads:
        findings = list(threads.map(lambda mutant: examine(mutant, options.seeds), chosen))
    if len(chosen) == len(MUTANTS):
        REPORT.write_text(report(findings, options.seeds), "utf-8")
        print(f"wrote {REPORT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
