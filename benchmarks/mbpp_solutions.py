"""Judges MBPP's own solutions in the sandbox, and the same solutions broken on purpose.

``python -m benchmarks.mbpp_solutions FILE [--broken 200] [--tier auto]`` runs every reference solution of an MBPP file
against its tests, then four broken variants of the first so many that can be broken: one that returns None, one whose
results are off by one, one that never ends, one that raises. Prints what failed and why; exit code 1 where a broken
variant passes or the machine gave no verdict.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.data.problems import load_problems
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests, Problem
from tracelift_ray.verification.sandbox.pool import Sandbox

#: CPU seconds of a broken variant: enough for every solution that works.
BROKEN_CPU_S = 0.5
_OFF_BY_ONE = """
def _off_by_one(function):
    def changed(*args, **named):
        result = function(*args, **named)
        if isinstance(result, bool):
            return not result
        if isinstance(result, (int, float, complex)):
            return result + 1
        if isinstance(result, str):
            return result + "x"
        if isinstance(result, (list, tuple)):
            return type(result)([*result, 1])
        return 1 if result is None else None

    return changed


{name} = _off_by_one({name})
"""
VARIANTS = {
    "returns None": "def {name}(*args, **named):\n    return None\n",
    "off by one": _OFF_BY_ONE,
    "never ends": "def {name}(*args, **named):\n    while True:\n        pass\n",
    "raises": "def {name}(*args, **named):\n    raise RuntimeError('broken')\n",
}


@dataclass(frozen=True)
class Judged:
    """A program and what became of it."""

    problem: Problem
    outcome: str
    detail: str


def tested_function(problem: Problem) -> str | None:
    """The function of the solution that the first test calls; None where there is none."""
    assert problem.solution is not None and problem.tests is not None
    defined = {node.name for node in ast.parse(problem.solution).body if isinstance(node, ast.FunctionDef)}
    calls = (node.func for node in ast.walk(ast.parse(problem.tests.asserts[0])) if isinstance(node, ast.Call))
    return next((call.id for call in calls if isinstance(call, ast.Name) and call.id in defined), None)


def judge(sandbox: Sandbox, problem: Problem, program: str) -> Judged:
    """Run one program against a problem's tests, up to the first that fails."""
    assert problem.tests is not None
    try:
        verdict = sandbox.run(program, problem.tests, stop_early=True)
    except InfrastructureError as error:
        return Judged(problem, type(error).__name__, error.cause)
    return Judged(problem, verdict.outcome, verdict.detail)


def judge_all(config: SandboxConfig, slots: int, programs: Sequence[tuple[Problem, str]]) -> Iterator[Judged]:
    """Judge programs, as many at a time as there are slots."""
    sandbox = Sandbox(config, slots)
    try:
        with ThreadPoolExecutor(slots) as threads:
            yield from threads.map(lambda each: judge(sandbox, *each), programs)
    finally:
        sandbox.close()


def broken(problems: Sequence[Problem], variant: str) -> list[tuple[Problem, str]]:
    """The solutions with one variant of breakage appended."""
    found = []
    for problem in problems:
        name = tested_function(problem)
        if name is not None:
            found.append((problem, f"{problem.solution}\n\n{VARIANTS[variant].format(name=name)}"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--broken", type=int, default=200, help="solutions to break")
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args(arguments)
    config = SandboxConfig(
        runner="sandbox",
        service=None,
        tier=options.tier, slots=options.slots, cores=(), cpu_s=5.0, wall_s=30.0, memory_mib=512, output_kib=256,
        file_mib=16, max_files=64, threads=64, preload=(), packages="",
    )  # fmt: skip
    problems = [problem for problem in load_problems(options.file, "mbpp") if problem.solution is not None]
    passing = _references(config, problems)
    bad = 0
    for variant in VARIANTS:
        programs = broken(passing, variant)[: options.broken]
        started = time.monotonic()
        limits = replace(config, cpu_s=BROKEN_CPU_S, wall_s=5.0)
        results = list(judge_all(limits, options.slots, programs))
        outcomes = Counter(each.outcome for each in results)
        print(f"{variant}: {len(results)} programs in {time.monotonic() - started:.1f} s: {_shown(outcomes)}")
        for each in results:
            if each.outcome in ("passed", "NoVerdict", "InfrastructureError"):
                bad += 1
                print(f"  {each.problem.id}: {each.outcome} {each.detail}")
    print(f"{bad} broken programs passed or got no verdict")
    return int(bad > 0)


def _references(config: SandboxConfig, problems: list[Problem]) -> list[Problem]:
    """Judge the solutions as they are; prints what fails and gives back the problems whose solution passes."""
    started = time.monotonic()
    results = list(judge_all(config, config.slots or 1, [(problem, problem.solution or "") for problem in problems]))
    tests = sum(len(problem.tests or CodeTests("function")) for problem in problems)
    passed = [each.problem for each in results if each.outcome == "passed"]
    took = time.monotonic() - started
    print(f"reference solutions: {len(passed)} of {len(results)} pass ({tests} tests) in {took:.1f} s")
    for each in results:
        if each.outcome != "passed":
            print(f"  {each.problem.id}: {each.outcome}: {each.detail}")
    return passed


def _shown(outcomes: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in outcomes.most_common())


if __name__ == "__main__":
    sys.exit(main())
