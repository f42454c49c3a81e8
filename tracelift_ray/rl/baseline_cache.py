"""Baselines on disk: how often the executor succeeds on a problem without a trace, sampled once and used by many runs.

A baseline belongs to one executor, sampling, prompt, problem, tests, verifier, extraction rule and sample count; all
of them are hashed into its key, so under any other it is simply not found.

The cache is a directory of JSONL files, one for each process that writes, so that any number of runs on any number of
machines share it without locks. Each line carries a checksum of itself: a torn or foreign line is passed over.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Baseline, Problem, Prompt, SamplingParams

#: Fewer frozen samples are stuck at a rate of 0 or 1 far too often.
MIN_SAMPLES = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaselineIdentity:
    """What all baselines of a run have in common.

    Attributes:
        executor: ``engines.identity.executor_identity``.
        verifier, sandbox: the settings that its verdicts depend on (``config.identity``).
        samples: executor samples in a baseline, at least ``MIN_SAMPLES``.
    """

    executor: Mapping[str, Any]
    verifier: Mapping[str, Any]
    sandbox: Mapping[str, Any]
    samples: int

    def key(self, problem: Problem, prompt: Prompt, params: SamplingParams) -> str:
        """The cache key of ``problem``, executed through ``prompt`` under ``params``; their n and seed do not count."""
        tests = problem.tests
        parts = {
            **asdict(self),
            "extraction": task_of(problem.task).extraction_version,
            "sampling": [params.max_new_tokens, params.temperature, params.top_p, list(params.stop)],
            "prompt": [list(prompt.token_ids), prompt.text, prompt.messages],
            "problem": [problem.id, problem.task, problem.statement, problem.answer],
            "tests": None if tests is None else asdict(tests),
        }
        if prompt.strip_thinking:
            parts["thinking"] = "strip"
        return xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True).encode())


class BaselineCache:
    """Baselines by problem, in memory and in ``directory``.

    Args:
        directory: made where it is missing; may be shared between runs and machines.
        identity: what the run's baselines have in common.
        request: the prompt and the sampling that the executor would get for a problem without a trace.

    Raises:
        ValueError: ``identity.samples`` is below ``MIN_SAMPLES``.
        DataError: the directory cannot be made.
    """

    def __init__(
        self,
        directory: str | Path,
        identity: BaselineIdentity,
        request: Callable[[Problem], tuple[Prompt, SamplingParams]],
    ) -> None:
        if identity.samples < MIN_SAMPLES:
            raise ValueError(
                f"a cached baseline of {identity.samples} samples is too coarse: at least {MIN_SAMPLES} are needed"
            )
        self.directory = Path(directory)
        self.identity = identity
        self.hits = 0
        self.misses = 0
        self.write_failures = 0
        self._request = request
        self._known: dict[str, Baseline] = {}
        self._read_up_to: dict[str, int] = {}
        self._own = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._torn = False
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the baseline cache {directory} cannot be made: {error.strerror}") from error

    def get(self, problem: Problem) -> Baseline | None:
        """The baseline of ``problem``, or None where no run has sampled it under this identity."""
        key = self._key(problem)
        if key not in self._known:
            self._read_new_lines()
        found = self._known.get(key)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, problem: Problem, baseline: Baseline) -> None:
        """Keep the counts of a baseline of exactly ``identity.samples`` samples, without its executions.

        The first one known for a problem stays. A disk that refuses it is logged once and counted in
        ``write_failures``; the run goes on with what it has in memory.

        Raises:
            ValueError: the baseline has another number of samples, or more successes than samples.
        """
        if baseline.samples != self.identity.samples or not 0 <= baseline.successes <= baseline.samples:
            raise ValueError(f"{baseline} is no baseline of {self.identity.samples} samples")
        key = self._key(problem)
        if key in self._known:
            return
        self._known[key] = replace(baseline, executions=())
        self._append(_line(key, baseline))

    def metrics(self) -> dict[str, float]:
        """Hits, misses and failed writes since the start, under ``baseline_cache/``."""
        return {
            "baseline_cache/hits": float(self.hits),
            "baseline_cache/misses": float(self.misses),
            "baseline_cache/write_failures": float(self.write_failures),
        }

    def _key(self, problem: Problem) -> str:
        return self.identity.key(problem, *self._request(problem))

    def _append(self, line: bytes) -> None:
        """One write call on a file of our own; after a torn one the next line starts afresh."""
        data = b"\n" + line if self._torn else line
        try:
            with open(self.directory / self._own, "ab", buffering=0) as stream:
                if stream.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False
        except OSError as error:
            self._torn = True
            if not self.write_failures:
                _log.warning("baselines are kept in memory only, %s refuses them: %s", self.directory, error.strerror)
            self.write_failures += 1

    def _read_new_lines(self) -> None:
        """Take in whole lines that any process has appended since the last look, files in the order of their names."""
        for path in sorted(self.directory.glob("*.jsonl")):
            if path.name == self._own:
                continue
            start = self._read_up_to.get(path.name, 0)
            try:
                with open(path, "rb") as stream:
                    stream.seek(start)
                    data = stream.read()
            except FileNotFoundError:  # cleared away since the listing: what it held is sampled again
                continue
            whole = data[: data.rfind(b"\n") + 1]
            self._read_up_to[path.name] = start + len(whole)
            for line in whole.splitlines():
                entry = _parse(line)
                if entry is not None:
                    self._known.setdefault(*entry)


def _line(key: str, baseline: Baseline) -> bytes:
    record = {"key": key, "successes": baseline.successes, "samples": baseline.samples}
    return json.dumps(record | {"check": _check(record)}).encode() + b"\n"


def _parse(line: bytes) -> tuple[str, Baseline] | None:
    """The key and baseline of a line, or None where it is torn, altered or something else."""
    try:
        record = json.loads(line)
        if record.pop("check") != _check(record):
            return None
        return record["key"], Baseline(record["successes"], record["samples"])
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


def _check(record: dict[str, object]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(record, sort_keys=True).encode())
