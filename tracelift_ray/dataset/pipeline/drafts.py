"""Takes every problem through the stages of a build: reference traces, flaws, rubrics.

Promises: what a stage made of a problem is on disk before the next stage sees it, so that an end at any moment costs
one item of each problem under way; the outcome is in the order of the problems.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tracelift_ray.data.formats import problem_record
from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.dataset.pipeline.stages import Candidate, JudgeStage, PerturbStage, ReferenceStage, Refused
from tracelift_ray.dataset.pipeline.store import ItemStore
from tracelift_ray.errors import first_failure
from tracelift_ray.tracking.alive import Heartbeat
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class Stages:
    """The stages of a build; of the judges, by name, the one whose rubrics count comes first."""

    reference: tuple[ReferenceStage, ItemStore]
    perturb: tuple[PerturbStage, ItemStore]
    judges: Mapping[str, tuple[JudgeStage, ItemStore]]


@dataclass(frozen=True)
class Draft:
    """What the stages made of one problem.

    Attributes:
        refused: why there is nothing, or None.
        traces: the good ones, then the flawed ones.
        rubrics: of each judge, those of the traces in order; the judge whose rubrics count comes first.
        discarded: attempts at flaws that were thrown away, by reason.
    """

    problem: Problem
    refused: str | None = None
    traces: Sequence[Candidate] = ()
    rubrics: Sequence[Sequence[RubricLabels | None]] = ()
    discarded: Mapping[str, int] = field(default_factory=dict)


async def make_drafts(
    problems: Sequence[Problem], stages: Stages, *, concurrency: int, progress_s: float, beat: Heartbeat
) -> list[Draft]:
    """One draft for each problem, in order, ``concurrency`` at a time, with a line of progress every ``progress_s``
    seconds. Raises InfrastructureError where a model or the verifier failed; what was made until then is kept."""
    places = asyncio.Semaphore(concurrency)
    progress = _Progress(len(problems), progress_s, beat)

    async def made(problem: Problem) -> Draft:
        async with places:
            await asyncio.sleep(0)  # Rules alone wait for nothing, and an interrupt would come through at the end only.
            draft = await _draft(problem, stages)
            progress.count(draft)
            return draft

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(made(problem)) for problem in problems]
    except BaseExceptionGroup as failures:  # unwrapped, so that the message names the failure itself
        raise first_failure(failures) from failures
    progress.line()
    return [task.result() for task in running]


async def _draft(problem: Problem, stages: Stages) -> Draft:
    traces, refused = await _traces(problem, *stages.reference)
    if refused is not None:
        return Draft(problem, refused)
    flaws, discarded = await _flaws(problem, traces, *stages.perturb)
    made = [*map(Candidate, traces), *flaws]
    rubrics = [await _rubrics(problem, made, *judge) for judge in stages.judges.values()]
    return Draft(problem, None, made, rubrics, discarded)


async def _traces(problem: Problem, stage: ReferenceStage, store: ItemStore) -> tuple[list[str], str | None]:
    async def make() -> dict[str, Any]:
        try:
            return {"traces": await stage.traces(problem)}
        except Refused as refusal:
            return {"refused": refusal.reason}

    value = await _kept(store, {}, problem, make)
    return value.get("traces", []), value.get("refused")


async def _flaws(
    problem: Problem, traces: Sequence[str], stage: PerturbStage, store: ItemStore
) -> tuple[list[Candidate], Mapping[str, int]]:
    async def make() -> dict[str, Any]:
        flaws, discarded = await stage.negatives(problem, traces)
        return {"flaws": [asdict(flaw) for flaw in flaws], "discarded": discarded}

    value = await _kept(store, {"traces": list(traces)}, problem, make)
    return [Candidate(**flaw) for flaw in value["flaws"]], value["discarded"]


async def _rubrics(
    problem: Problem, traces: Sequence[Candidate], stage: JudgeStage, store: ItemStore
) -> list[RubricLabels | None]:
    async def make() -> dict[str, Any]:
        rubrics = await stage.rubrics(problem, traces)
        return {"rubrics": [None if rubric is None else [list(rubric.labels), rubric.total] for rubric in rubrics]}

    value = await _kept(store, {"traces": [asdict(trace) for trace in traces]}, problem, make)
    return [None if entry is None else RubricLabels(tuple(entry[0]), entry[1]) for entry in value["rubrics"]]


async def _kept(
    store: ItemStore, given: Mapping[str, Any], problem: Problem, make: Callable[[], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """What was made from a problem and this input before, else what ``make`` gives, which is kept."""
    made_from = {"problem": problem_record(problem), **given}
    value = store.get(made_from)
    if value is None:
        value = await make()
        store.put(made_from, problem.id, value)
    return value


class _Progress:
    """Lines about how far a build is, at most one in ``every_s`` seconds; between two problems ``beat`` says it."""

    def __init__(self, total: int, every_s: float, beat: Heartbeat) -> None:
        self._total, self._every_s, self._beat = total, every_s, beat
        self._done = self._refused = 0
        self._start = self._last = time.monotonic()
        self._at()

    def count(self, draft: Draft) -> None:
        self._done += 1
        self._refused += draft.refused is not None
        self._at()
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self.line()

    def line(self) -> None:
        seconds = time.monotonic() - self._start
        left = seconds / max(1, self._done) * (self._total - self._done)
        self._beat.say(
            f"{self._done:,} of {self._total:,} problems in {seconds:.0f} s, {self._refused:,} without traces"
            + (f", about {left:.0f} s to go" if self._done < self._total else "")
        )

    def _at(self) -> None:
        self._beat.doing("making groups", self._done, self._total)
