"""Runs one program against its tests on one slot: what is handed over, what comes back, and the verdict on it."""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
from collections.abc import Callable, Sequence
from typing import Any

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.types import CodeTests, Verdict
from tracelift_ray.verification.code_runner import MAX_SHOWN_CHARS, Tally, TestResult
from tracelift_ray.verification.errors import NotHandedOver
from tracelift_ray.verification.sandbox.slot import Ending, Slot
from tracelift_ray.verification.sandbox.verdicts import Output, function_results, stdio_result

_MIB = 1024**2
_RESULTS_BYTES = _MIB
#: Read of each stream of a run that wrote too much.
_FLOOD_BYTES = 64 * 1024


#: Runs the tests from a number on; how that ended, the output, and what it says of those that it came to.
RunFrom = Callable[[int], tuple[Ending, Output, Sequence[TestResult]]]


def run_tests(slot: Slot, config: SandboxConfig, program: str, tests: CodeTests, stop_early: bool) -> Verdict:
    """Every test, or all up to the first that fails. Raises NoVerdict."""
    tally = Tally(len(tests))
    try:
        with contextlib.ExitStack() as stack:
            if tests.kind == "stdio":
                run_from = _stdio_runs(stack, slot, config, program, tests)
            else:
                run_from = _function_runs(stack, slot, config, program, tests, stop_early)
            while not tally.is_over(stop_early):
                ending, output, results = run_from(len(tally.results))
                tally.add(
                    results,
                    _shown(output.stdout),
                    _shown(output.stderr),
                    wall_s=ending.wall_s,
                    cpu_s=sum(each.cpu_s for each in ending.processes),
                    peak_mib=ending.processes[0].peak_kib / 1024,
                )
    except OSError as error:
        raise NotHandedOver(f"a program could not be handed over ({error}); check memory and open files") from error
    return tally.verdict()


def _stdio_runs(
    stack: contextlib.ExitStack, slot: Slot, config: SandboxConfig, program: str, tests: CodeTests
) -> RunFrom:
    """A process for each test, which sees its input and never what is expected."""
    payload, compiled = _sealed(stack, marshal.dumps(program)), _empty(stack)
    rule = OutputRule.of(tests)
    job = _job(config, tests=1)

    def run_from(index: int) -> tuple[Ending, Output, Sequence[TestResult]]:
        with contextlib.ExitStack() as files:
            stdin = _sealed(files, tests.inputs[index].encode("utf-8", "surrogateescape"))
            stdout, stderr = _empty(files), _empty(files)
            ending = slot.execute(job, [payload, stdin, stdout, stderr, compiled])
            output = _output(config, stdout, stderr)
        return ending, output, [stdio_result(ending, output, config.cpu_s, tests.outputs[index], rule)]

    return run_from


def _function_runs(
    stack: contextlib.ExitStack, slot: Slot, config: SandboxConfig, program: str, tests: CodeTests, stop_early: bool
) -> RunFrom:
    """One pair of processes for all tests; a new pair after a test that ended one of them."""
    total = len(tests)
    payload = _sealed(stack, marshal.dumps({"program": program, "setup": tests.setup}))
    stdin = _sealed(stack, b"")

    def run_from(first: int) -> tuple[Ending, Output, Sequence[TestResult]]:
        plan = {
            "setup": tests.setup,
            "asserts": tests.asserts,
            "entry_point": tests.entry_point,
            "first": first,
            "stop_early": stop_early,
        }
        with contextlib.ExitStack() as files:
            wanted = _sealed(files, marshal.dumps(plan))
            stdout, stderr, results = _empty(files), _empty(files), _empty(files)
            job = _job(config, tests=total - first)
            ending = slot.execute(job, [payload, stdin, stdout, stderr, wanted, results])
            output = _output(config, stdout, stderr)
            said = os.pread(results, min(os.fstat(results).st_size, _RESULTS_BYTES), 0)
        return ending, output, function_results(ending, output, config.cpu_s, said, range(first, total))

    return run_from


def _job(config: SandboxConfig, tests: int) -> dict[str, Any]:
    """The limits of a run, as ``inside.fork_server`` reads them; CPU and wall time are those of one test."""
    return {
        "cpu_s": config.cpu_s,
        "wall_s": config.wall_s,
        "tests": tests,
        "memory_bytes": config.memory_mib * _MIB,
        "file_bytes": max(config.file_mib * _MIB, (config.output_kib + 4) * 1024),
        "max_files": config.max_files,
    }


def _output(config: SandboxConfig, stdout: int, stderr: int) -> Output:
    """What a run wrote; of one that wrote too much, the beginning.

    Read by size: with room for the limit every time, the allocator would keep such room for each thread.
    """
    limit = config.output_kib * 1024
    sizes = os.fstat(stdout).st_size, os.fstat(stderr).st_size
    flooded = sum(sizes) > limit
    most = min(limit, _FLOOD_BYTES) if flooded else limit
    return Output(os.pread(stdout, min(sizes[0], most), 0), os.pread(stderr, min(sizes[1], most), 0), flooded)


def _sealed(stack: contextlib.ExitStack, content: bytes) -> int:
    """A file in memory that nobody can change any more, to be read from its start."""
    descriptor = os.memfd_create("in", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, descriptor)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(
        descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _empty(stack: contextlib.ExitStack) -> int:
    """An empty file in memory, to be written to."""
    descriptor = os.memfd_create("out", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _shown(stream: bytes) -> str:
    return stream[: 4 * MAX_SHOWN_CHARS].decode(errors="replace")
