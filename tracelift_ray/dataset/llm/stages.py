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
from tracelift_ray.dataset.pipeline.stages import MadeTrace, Refused
from tracelift_ray.dataset.settings import PerturbConfig, TracesConfig
from tracelift_ray.reasoning_rm.scoring.judging import JudgementError, judge_prompt, parse_judgement, repair_prompt
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import DataError, Problem


class LlmNarrations:
    """``stages.ReferenceStage``: reference solutions, told as reasoning; of ``config.samples`` replies at most
    ``config.keep`` stay, none of which gives the answer or the program away."""

    def __init__(self, model: AskedModel, config: TracesConfig) -> None:
        self._model = model
        self._config = config

    async def traces(self, problem: Problem) -> list[str]:
        if not problem.solution:
            raise Refused("the data has no reference solution")
        request, leaks = narration_prompt(problem), task_of(problem.task).leaks
        kept: list[str] = []
        for attempt in range(self._config.samples):
            try:
                told = read_edit(await self._model.ask(request, attempt=attempt))
            except RequestTooLong:
                raise Refused("a solution that does not fit the model's context") from None
            if told is not None and told not in kept and not leaks(problem, told):
                kept.append(told)
            if len(kept) == self._config.keep:
                break
        if not kept:
            raise Refused("no narration that keeps the solution to itself")
        return kept


class LlmPerturbations:
    """``stages.PerturbStage``: ``config.negatives`` edits, each of one kind, spread over good traces and kinds."""

    def __init__(self, model: AskedModel, config: PerturbConfig, seed: int) -> None:
        self._model = model
        self._config = config
        self._seed = seed

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[MadeTrace], dict[str, int]]:
        if problem.task not in FLAWS:
            raise DataError(f"task {problem.task!r} has no kinds of flaw to ask for; {', '.join(FLAWS)} have some")
        kinds = list(FLAWS[problem.task])
        rng = problem_rng("edits", self._seed, problem)
        order = rng.sample(kinds, len(kinds))
        wanted = [(traces[i % len(traces)], order[i % len(order)]) for i in range(self._config.negatives)]
        wanted = list(dict.fromkeys(wanted))
        answers = await asyncio.gather(*(self._edit(problem, trace, kind) for trace, kind in wanted))
        discarded: Counter[str] = Counter()
        made: dict[str, MadeTrace] = {}
        for flawed, faults in answers:
            discarded.update(faults)
            if flawed is not None:
                made.setdefault(flawed.reasoning, flawed)
        return list(made.values()), dict(discarded)

    async def _edit(self, problem: Problem, trace: str, kind: str) -> tuple[MadeTrace | None, list[str]]:
        """One edit, and why the replies before it were of no use."""
        faults: list[str] = []
        request = edit_prompt(problem, trace, kind)
        for attempt in range(1 + self._config.tries):
            try:
                edited = read_edit(await self._model.ask(request, attempt=attempt))
            except RequestTooLong:
                return None, [*faults, "an edit that does not fit the model's context"]
            fault = "an edit that is not tagged once"
            if edited is not None:
                fault = edit_fault(problem, trace, edited, self._config.max_changed) or ""
                if not fault:
                    return MadeTrace(edited, kind, edit_place(trace, edited)), faults
            faults.append(fault)
        return None, faults


class LlmJudgements:
    """``stages.JudgeStage``: strict JSON from the model, repaired once, else no rubric."""

    def __init__(self, model: AskedModel) -> None:
        self._model = model

    async def rubrics(self, problem: Problem, traces: Sequence[MadeTrace]) -> list[RubricLabels | None]:
        return list(await asyncio.gather(*(self._rubric(problem, trace.reasoning) for trace in traces)))

    async def _rubric(self, problem: Problem, reasoning: str) -> RubricLabels | None:
        try:
            reply = await self._model.ask(judge_prompt(problem, reasoning), greedy=True)
            try:
                return parse_judgement(reply, problem.task).rubric
            except JudgementError as error:
                repaired = await self._model.ask(repair_prompt(reply, error, problem.task), greedy=True)
                return parse_judgement(repaired, problem.task).rubric
        except (JudgementError, RequestTooLong):
            return None
