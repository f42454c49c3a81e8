"""Executor tokens of the schemes of ``benchmarks.executor_tokens``: prompts and what is written, at measured lengths.

A prompt counts once for each request, whose samples share it. With a prefix cache a group's problem counts once, and a
prompt that is asked for again not at all.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.executor_world import GROUP, Scheme
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer
from tracelift_ray.tracking.history import load_history
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class Lengths:
    """Mean tokens.

    Attributes:
        prompt: of the prompt with a trace; ``problem`` of them are before the trace.
        alone: of the prompt without one, of which ``other`` are after what it shares with the prompt with a trace.
        sample, sample_alone: of what the executor writes with a trace and without.
    """

    prompt: float
    problem: float
    alone: float
    other: float
    sample: float
    sample_alone: float


@dataclass(frozen=True)
class Tokens:
    """Of a group: what is written; the same and all prompts; the same with a prefix cache."""

    written: float
    all: float
    cached: float


def tokens(scheme: Scheme, lengths: Lengths, drawn: float, group: int = GROUP) -> Tokens:
    """Of a group of ``drawn`` samples."""
    with_trace, without = scheme.requests(drawn, group)
    alone = float(scheme.baseline * (group if scheme.own_baseline else 1))
    if scheme.stops == "baseline":
        alone = without
    written = (drawn - alone) * lengths.sample + alone * lengths.sample_alone
    prompts = with_trace * lengths.prompt + without * lengths.alone
    cached = lengths.problem + group * (lengths.prompt - lengths.problem) + min(1, without) * lengths.other
    return Tokens(written, written + prompts, written + cached)


def of_run(folder: Path) -> dict[str, Lengths]:
    """Of a finished run, by task.

    Artifacts are shorter than what was written where an executor says more than its answer, so their lengths are scaled
    to the tokens that the engines counted.
    """
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    model, preset = config["executor"]["model"], config["executor"]["prompt"]
    tokenizer = load_tokenizer(model)
    renderer = PromptRenderer(tokenizer, preset)
    records = [json.loads(line) for line in (folder / "trajectories.jsonl").read_text("utf-8").splitlines()]
    executed = [record for record in records if record["masked"] is None and record["verdicts"]]

    def size(verdict: Mapping[str, Any]) -> int:
        return len(tokenizer(verdict["artifact"] or "", add_special_tokens=False)["input_ids"]) + 1

    requests = sum(1 + bool(record["baseline_verdicts"]) for record in executed)
    artifacts = sum(size(each) for record in executed for each in (*record["verdicts"], *record["baseline_verdicts"]))
    scale = _tokens_a_request(folder) / (artifacts / requests)
    return {task: _lengths(list(some), renderer, size, scale) for task, some in _by_task(executed)}


def _tokens_a_request(folder: Path) -> float:
    """What the executor wrote for a request, by the engines' own count."""
    history = load_history(folder)
    rates = [history.series(f"rates/executor_{what}_per_s")[1] for what in ("tokens", "prompts")]
    return statistics.fmean(written / asked for written, asked in zip(*rates, strict=True) if asked)


def _by_task(records: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for task in dict.fromkeys(record["task"] for record in records):
        yield task, [record for record in records if record["task"] == task]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that two prompts begin with."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _lengths(
    records: list[dict[str, Any]], renderer: PromptRenderer, size: Callable[[Mapping[str, Any]], int], scale: float
) -> Lengths:
    found = []
    for record in records:
        problem = Problem(record["problem"], record["task"], record["statement"], record["task_type"])
        given = renderer.executor(problem, record["reasoning"]).token_ids
        other = renderer.executor(problem, "?").token_ids
        alone = renderer.executor(problem, None).token_ids
        begins, shared = _common(given, other), _common(given, alone)
        found.append((len(given), begins, len(alone), len(alone) - shared))
    samples, without = (
        [scale * size(each) for record in records for each in record[name]]
        for name in ("verdicts", "baseline_verdicts")
    )
    prompt, before, bare, rest = (statistics.fmean(column) for column in zip(*found, strict=True))
    return Lengths(prompt, before, bare, rest, statistics.fmean(samples), statistics.fmean(without))
