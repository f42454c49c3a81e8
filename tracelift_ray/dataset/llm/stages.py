"""The stages that ask a language model: solutions told as traces, flaws as edits of them, rubrics as judgements.

A reply that cannot be used is asked for again as often as configured, then dropped and counted; it is never mended by
guessing. A model that does not answer at all ends the build, which goes on later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.dataset.llm.edits import FLAWS, edit_fault, edit_place, edit_prompt, narration_prompt, read_edit
from tracelift_ray.dataset.llm.model import AskedModel, RequestTooLong
from tracelift_ray.dataset.pipeline.rule_stages import problem_rng
from tracelift_ray.dataset.pipeline.stages import Candidate, Refused
from tracelift_ray.dataset.settings import PerturbConfig, TracesConfig
from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.scoring.judging import JudgementError, judge_trace
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem


class ByLlm:
    """All three stages by language model."""

    def __init__(self, model: AskedModel, traces: TracesConfig, perturb: PerturbConfig, seed: int) -> None:
        self._model = model
        self._traces = traces
        self._perturb = perturb
        self._seed = seed

    async def traces(self, problem: Problem) -> list[str]:
        """Reference solutions, told as reasoning; of ``traces.samples`` replies at most ``traces.keep`` stay, none of
        which gives the answer or the program away."""
        if not problem.solution:
            raise Refused("the data has no reference solution")
        request, leaks = narration_prompt(problem), task_of(problem.task).leaks
        kept: list[str] = []
        for attempt in range(self._traces.samples):
            try:
                told = read_edit(await self._model.ask(request, attempt=attempt))
            except RequestTooLong:
                raise Refused("a solution that does not fit the model's context") from None
            if told is not None and told not in kept and not leaks(problem, told):
                kept.append(told)
            if len(kept) == self._traces.keep:
                break
        if not kept:
            raise Refused("no narration that keeps the solution to itself")
        return kept

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[Candidate], dict[str, int]]:
        """``perturb.negatives`` edits, each of one kind, spread over good traces and kinds."""
        if problem.task not in FLAWS:
            raise DataError(f"task {problem.task!r} has no kinds of flaw to ask for; {', '.join(FLAWS)} have some")
        kinds = list(FLAWS[problem.task])
        rng = problem_rng("edits", self._seed, problem)
        order = rng.sample(kinds, len(kinds))
        wanted = [(traces[i % len(traces)], order[i % len(order)]) for i in range(self._perturb.negatives)]
        wanted = list(dict.fromkeys(wanted))
        answers = await asyncio.gather(*(self._edit(problem, trace, kind) for trace, kind in wanted))
        discarded: Counter[str] = Counter()
        made: dict[str, Candidate] = {}
        for flawed, faults in answers:
            discarded.update(faults)
            if flawed is not None:
                made.setdefault(flawed.reasoning, flawed)
        return list(made.values()), dict(discarded)

    async def _edit(self, problem: Problem, trace: str, kind: str) -> tuple[Candidate | None, list[str]]:
        """One edit, and why the replies before it were of no use."""
        faults: list[str] = []
        request = edit_prompt(problem, trace, kind)
        for attempt in range(1 + self._perturb.tries):
            try:
                edited = read_edit(await self._model.ask(request, attempt=attempt))
            except RequestTooLong:
                return None, [*faults, "an edit that does not fit the model's context"]
            fault = "an edit that is not tagged once"
            if edited is not None:
                fault = edit_fault(problem, trace, edited, self._perturb.max_changed) or ""
                if not fault:
                    return Candidate(edited, kind, edit_place(trace, edited)), faults
            faults.append(fault)
        return None, faults

    async def rubrics(self, problem: Problem, traces: Sequence[Candidate]) -> list[RubricLabels | None]:
        """Strict JSON from the model, repaired once, else no rubric."""
        return list(await asyncio.gather(*(self._rubric(problem, trace.reasoning) for trace in traces)))

    async def _rubric(self, problem: Problem, reasoning: str) -> RubricLabels | None:
        try:
            return await judge_trace(problem, reasoning, lambda request: self._model.ask(request, greedy=True))
        except (JudgementError, RequestTooLong):
            return None
