"""One group from problem to scored trajectories, every trace flowing on its own.

A trace is executed, verified and scored the moment it exists; the baseline is sampled once, beside the traces, and
scoring by the reasoning RM overlaps with execution. A missing piece never becomes a number: a trace whose executor,
verifier or RM gave no result after the pools' retries is masked with the cause, and a group that keeps fewer than
``stream.min_traces`` traces fails.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reward.arms import requirements
from tracelift_ray.reward.compute import compute_reward, floor_components, floor_reward
from tracelift_ray.rl.baselines import Baselines
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Baseline, Execution, Group, Problem, RubricScore, Trace, Trajectory


class GroupFailed(Exception):
    """Too few traces of a group survived; the causes are counted in ``causes``."""

    def __init__(self, ticket: Ticket, causes: Counter[str]) -> None:
        super().__init__(ticket, causes)
        self.ticket = ticket
        self.causes = causes

    def __str__(self) -> str:
        causes = "; ".join(f"{cause} ({count})" for cause, count in self.causes.most_common(3))
        return f"group {self.ticket.serial} of problem {self.ticket.problem.id} failed: {causes}"


#: Awaits a stage of a group: the stage, what it is a stage of, and the work.
Observe = Callable[[str, str, Awaitable[Any]], Awaitable[Any]]
T = TypeVar("T")


class Rollout:
    """Runs groups. ``faults`` counts infrastructure errors by component over the life of the object; ``observe``,
    where there is one, awaits the stages of each group."""

    def __init__(
        self,
        system: PlannerExecutorSystem,
        baselines: Baselines,
        reward: RewardConfig,
        *,
        group_size: int,
        min_traces: int,
        deadline_s: float,
    ) -> None:
        self.system = system
        self.baselines = baselines
        self.reward = reward
        self.requirements = requirements(reward)
        self.group_size = group_size
        self.min_traces = min_traces
        self.deadline_s = deadline_s
        self.faults: Counter[str] = Counter()
        self.observe: Observe | None = None

    async def run(self, ticket: Ticket) -> Group:
        """The finished group. Raises ``GroupFailed``."""
        try:
            async with asyncio.timeout(self.deadline_s):
                return await self._run(ticket)
        except TimeoutError:
            cause = (
                f"not complete after {self.deadline_s:g} s (stream.group_deadline_s); "
                "check that planner and executor pools answer"
            )
            self.faults["stream"] += 1
            raise GroupFailed(ticket, Counter([cause])) from None

    def _run(self, ticket: Ticket) -> Awaitable[Group]:
        return self._stage("group", f"group {ticket.serial}", self._gathered(ticket))

    async def _gathered(self, ticket: Ticket) -> Group:
        sampling = self._stage("baseline", f"group {ticket.serial}", self._baseline(ticket))
        baseline = asyncio.ensure_future(sampling)
        traces = [asyncio.ensure_future(self._trajectory(ticket, i, baseline)) for i in range(self.group_size)]
        try:
            results = await asyncio.gather(*traces)
        except BaseException:  # cancelled or failed: what runs beside it ends too, and it goes on
            for each in (baseline, *traces):
                each.cancel()
            raise
        trajectories = tuple(result for result in results if isinstance(result, Trajectory))
        causes = Counter(str(result) for result in results if isinstance(result, InfrastructureError))
        causes.update(t.masked for t in trajectories if t.masked is not None)
        if sum(t.masked is None for t in trajectories) < self.min_traces:
            baseline.cancel()
            raise GroupFailed(ticket, causes)
        try:
            base = await baseline
        except InfrastructureError as error:  # where no trace waited for it: all of them are malformed
            raise GroupFailed(ticket, Counter([str(error)])) from None
        return Group(ticket.serial, ticket.problem, ticket.submitted_version, trajectories, base)

    async def _baseline(self, ticket: Ticket) -> Baseline | None:
        count, known = self.requirements.baseline, ticket.known
        if count == 0:
            return None
        if known is not None:
            count = min(count, max(0, self.reward.cached_samples - known.samples))
        return await self.baselines.sample(ticket.problem, ticket.epoch, count, known)

    async def _trajectory(
        self, ticket: Ticket, index: int, baseline: asyncio.Future[Baseline | None]
    ) -> Trajectory | InfrastructureError:
        """A trajectory, masked where a later stage gave no result; the error itself where there is not even a trace."""
        problem, key = ticket.problem, (ticket.problem.id, ticket.epoch)
        trace = ticket.traces.get(index)
        try:
            if trace is None:
                whole_text = self.reward.malformed == "whole_text"
                writing = self.system.trace(problem, index, key, whole_text=whole_text)
                trace = await self._stage("write", f"trace {ticket.serial}.{index}", writing)
        except InfrastructureError as error:
            self.faults[error.component] += 1
            ticket.wrote(index, None, self.group_size)
            return error
        ticket.wrote(index, trace, self.group_size)
        if trace.reasoning is None:
            form = task_of(problem.task).reward_form
            parts = floor_components(self.reward, form)
            return Trajectory(trace, reward=floor_reward(self.reward, form), components=parts)
        try:
            return await self._scored(ticket, trace, trace.reasoning, baseline)
        except InfrastructureError as error:
            self.faults[error.component] += 1
            return Trajectory(trace, masked=str(error))

    async def _scored(
        self, ticket: Ticket, trace: Trace, reasoning: str, baseline: asyncio.Future[Baseline | None]
    ) -> Trajectory:
        problem = ticket.problem
        task = task_of(problem.task)
        leaked = task.leaks(problem, reasoning)
        shown = task.mask(problem, reasoning) if leaked and self.reward.leak == "mask" else reasoning
        key = (problem.id, ticket.epoch, trace.index)
        count = self.requirements.samples
        name = f"trace {ticket.serial}.{trace.index}"
        execution, score = self._execute(problem, shown, count, key), self._score(problem, reasoning)
        executing = asyncio.ensure_future(self._stage("execute", name, execution))
        scoring = asyncio.ensure_future(self._stage("score", name, score))
        try:
            executions = await executing
            rubric = await scoring
        except BaseException:  # cancelled or failed: what runs beside it ends too, and it goes on
            executing.cancel()
            scoring.cancel()
            raise
        with_trace = executions[: self.requirements.with_trace]
        fresh = executions[-1] if self.requirements.fresh else None
        base = await asyncio.shield(baseline)
        result = compute_reward(self.reward, task.reward_form, with_trace, fresh, base, rubric)
        parts = result.components
        return Trajectory(
            trace, with_trace, fresh, rubric, result.uplift, result.reward, leaked=leaked, components=parts
        )

    def _stage(self, stage: str, name: str, work: Awaitable[T]) -> Awaitable[T]:
        return work if self.observe is None else self.observe(stage, name, work)

    async def _execute(
        self, problem: Problem, reasoning: str, count: int, key: Sequence[int | str]
    ) -> tuple[Execution, ...]:
        return await self.system.execute(problem, reasoning, count, key) if count else ()

    async def _score(self, problem: Problem, reasoning: str) -> RubricScore | None:
        return await self.system.score(problem, reasoning) if self.requirements.rubric else None
