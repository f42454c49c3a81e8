"""A corpus of hostile and benign programs, described by a ``manifest.json``: what each needs, and what may come of it.

A manifest is ``{"programs": [entry, …]}``. An entry names ``file`` (relative to the manifest, in a folder or not),
``mode`` (``stdio`` or ``func``), ``expect`` (the allowed verdicts: AC, PASS, WA, RE, TLE, MLE, OLE), and

=====  =================================================================================================================
stdio  ``stdin`` (``stdin_repeat`` times), ``expected_stdout``, and ``compare``: ``tokens`` or ``{"abs": …, "rel": …}``;
       ``@range300000`` expects the numbers below 300000
func   ``test`` (asserts, or a body with ``check``), ``entry``, ``prompt``
any    ``limits`` (``cpu`` in seconds), ``max_wall_s``, ``run_after`` (a file that runs just before on the same slot),
       ``prime`` (a solution and a test, likewise), ``prelude`` (a file put before the program), ``why``, ``category``,
       ``tiers`` (the only tiers in which ``expect`` holds)
=====  =================================================================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelift_ray.errors import DataError
from tracelift_ray.types import CodeTests, Outcome

#: What the manifest's verdicts are called in this project.
OUTCOMES: dict[str, tuple[Outcome, ...]] = {
    "AC": ("passed",),
    "PASS": ("passed",),
    "WA": ("wrong_answer",),
    "RE": ("runtime_error", "does_not_compile"),
    "TLE": ("time_limit",),
    "MLE": ("memory_limit",),
    "OLE": ("output_limit",),
}
_RANGE = re.compile(r"@range([0-9]+)")


@dataclass(frozen=True)
class Entry:
    """One program of a corpus.

    Attributes:
        name: its file, without the folder.
        program: its source; bytes that are no UTF-8 are lone surrogates.
        allowed: outcomes that are as they should be.
        before: a program and its tests that run just before, on the same slot.
        cpu_s: its own CPU limit, where it needs another.
        max_wall_s: a verdict must come within this time.
        tiers: the only tiers whose programs are held to ``allowed``; empty: all.
    """

    name: str
    category: str
    why: str
    program: str
    tests: CodeTests
    allowed: tuple[Outcome, ...]
    before: tuple[str, CodeTests] | None = None
    cpu_s: float | None = None
    max_wall_s: float = 15.0
    tiers: tuple[str, ...] = ()


def read_corpus(directory: Path) -> tuple[Entry, ...]:
    """The programs of a corpus in the order of its manifest.

    Raises:
        DataError: there is no manifest, it is malformed, or a program that it names is missing.
    """
    path = directory / "manifest.json"
    try:
        records = json.loads(path.read_text())["programs"]
        by_file = {record["file"]: record for record in records}
        return tuple(_entry(record, by_file, directory) for record in records)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; a corpus is a directory with a manifest.json") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no manifest of a corpus ({type(error).__name__}: {error})") from error


def _entry(record: Mapping[str, Any], by_file: Mapping[str, Mapping[str, Any]], directory: Path) -> Entry:
    before = None
    if "run_after" in record:
        earlier = by_file[record["run_after"]]
        before = _source(directory, earlier), _tests(earlier)
    elif "prime" in record:
        prime = record["prime"]
        before = prime["solution"], _function_tests(prime["test"], prime.get("entry"), None)
    return Entry(
        Path(record["file"]).name,
        record.get("category", ""),
        record.get("why", ""),
        _source(directory, record),
        _tests(record),
        tuple(outcome for verdict in record["expect"] for outcome in OUTCOMES[verdict]),
        before,
        record.get("limits", {}).get("cpu"),
        float(record.get("max_wall_s", Entry.max_wall_s)),
        tuple(record.get("tiers", ())),
    )


def _source(directory: Path, record: Mapping[str, Any]) -> str:
    files = [record["prelude"]] if "prelude" in record else []
    return b"\n".join((directory / name).read_bytes() for name in [*files, record["file"]]).decode(
        "utf-8", "surrogateescape"
    )


def _tests(record: Mapping[str, Any]) -> CodeTests:
    if record["mode"] == "func":
        return _function_tests(record["test"], record.get("entry"), record.get("prompt"))
    compare = record.get("compare", "tokens")
    tolerance = compare if isinstance(compare, dict) else {}
    stdin = record.get("stdin", "") * record.get("stdin_repeat", 1)
    numbers = _RANGE.fullmatch(record["expected_stdout"])
    expected = "".join(f"{i}\n" for i in range(int(numbers[1]))) if numbers else record["expected_stdout"]
    return CodeTests("stdio", (stdin,), (expected,), abs_tol=tolerance.get("abs"), rel_tol=tolerance.get("rel"))


def _function_tests(test: str, entry: str | None, prompt: str | None) -> CodeTests:
    """Tests of a function; what the prompt defines before the function is their set-up (HumanEval)."""
    body = re.search(r"^def check\(", test, re.MULTILINE) is not None
    setup = ""
    if prompt and entry:
        start = re.search(rf"^def {re.escape(entry)}\(", prompt, re.MULTILINE)
        setup = prompt[: start.start()] if start else ""
    return CodeTests("function", asserts=(test,), setup=setup, entry_point=entry if body else None)
