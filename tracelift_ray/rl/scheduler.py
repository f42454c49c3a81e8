"""Which groups run, and which of them become a batch.

Admission keeps ``running + ready + training`` at most ``(max_staleness // updates_per_batch + 1) * groups_per_step``,
where a group without signal that is part of a batch keeps its place until the batch is done. So a group that is
consumed in turn is never older than ``max_staleness``; one that still is (it straggled) is dropped, not trained. With
``max_staleness = 0`` nothing runs while the learner works, and groups are consumed in the order of submission, since
completion order favours short traces. ``order=submission`` keeps that order with any ``max_staleness``, and a batch is
handed out only when the planner owes no trace: weights change under none, so which weights write which trace, and which
group is consumed when, follow from serials alone. Every group submitted ends once: trained, filtered (no signal),
dropped (too stale) or failed; the ledger holds the account.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.baseline_pool import BaselinePool
from tracelift_ray.rl.ledger import Ledger
from tracelift_ray.rl.rollout import GroupFailed
from tracelift_ray.rl.signal import score_batch, score_group
from tracelift_ray.rl.tickets import Ticket, saved_baselines, saved_tickets, saved_traces
from tracelift_ray.types import Group, ScoredGroup


class RunsGroups(Protocol):
    """What takes a ticket to a finished group."""

    async def run(self, ticket: Ticket) -> Group:
        """The finished group. Raises ``GroupFailed``."""


class StreamError(InfrastructureError):
    """The stream cannot go on: too many groups failed in one step."""


@dataclass(frozen=True)
class GroupBatch:
    """What one step consumes.

    Attributes:
        groups: groups with signal, to be trained.
        zero_signal: groups without signal that count as part of the batch.
        replaced: groups without signal that others took the place of.
        dropped, failed: groups of this step that ended so.
        refill_cap_reached: whether a group without signal would have been replaced but for ``max_refills``.
    """

    groups: tuple[ScoredGroup, ...]
    zero_signal: tuple[ScoredGroup, ...]
    replaced: tuple[ScoredGroup, ...]
    dropped: int
    failed: int
    refill_cap_reached: bool

    @property
    def seen(self) -> tuple[ScoredGroup, ...]:
        """All groups that count in the step's metrics."""
        return self.groups + self.zero_signal + self.replaced


class Scheduler:
    """Submits groups and forms batches. Use as: ``next_batch``, train, ``finished``, and so on."""

    def __init__(
        self,
        rollout: RunsGroups,
        sampler: ProblemSampler,
        stream: StreamConfig,
        algorithm: AlgorithmConfig,
        ledger: Ledger | None = None,
        baselines: BaselinePool | None = None,
    ) -> None:
        self.rollout = rollout
        self.sampler = sampler
        self.stream = stream
        self.algorithm = algorithm
        self.ledger = ledger or Ledger()
        self.baselines = baselines
        self.capacity = (stream.max_staleness // algorithm.updates_per_batch + 1) * algorithm.groups_per_step
        self.version = 0
        self._by_index = stream.order == "submission"
        self._builder: BatchBuilder | None = None  # of the batch that is gathered now
        self._zero_signal = 0  # groups without signal in the batch that is built or trained
        self._tasks: dict[int, asyncio.Task[Group]] = {}
        self._ended: set[int] = set()  # of the tasks; to wait for all of them would cost their number for each group
        self._one_ended = asyncio.Event()
        self._tickets: dict[int, Ticket] = {}
        self._passed_over: dict[int, Ticket] = {}  # without signal, in the batch that is built or trained
        self._again: deque[Ticket] = deque()

    async def next_batch(self, version: int) -> GroupBatch:
        """The next batch for the learner at ``version``. Raises ``StreamError`` when too many groups fail."""
        self.version = version
        self._builder = builder = BatchBuilder(self.algorithm.groups_per_step, self.stream.max_refills)
        while not builder.complete:
            self._admit()
            await self._consume_one(builder)
        batch = self._scored(builder.batch())
        self._admit()
        if self._by_index:
            await self._traces_written()
        self._builder = None
        return batch

    def finished(self, batch: GroupBatch, version: int) -> None:
        """``batch`` was trained (or, holding no signal, passed over); the learner is at ``version``."""
        self.version = version
        self._count_baselines(batch)
        self._zero_signal = 0
        self._passed_over.clear()
        for scored in batch.groups:
            self._end(scored.group.serial)
            self.ledger.trained(scored.group.serial)
        self._admit()

    async def stop(self) -> None:
        """Cancel all that runs. The groups stay in ``state()``, to be submitted again."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def gathered(self) -> tuple[int, int] | None:
        """Groups that the next batch has, and needs; None while no batch is gathered."""
        return None if self._builder is None else (self._builder.gathered, self._builder.wanted)

    def state(self) -> dict[str, Any]:
        """Position of the stream as JSON values: the sampler's, the account's, and the groups in flight.

        Those are all groups of a batch that is not trained yet, too, with or without signal: submitted again in the
        same order they make the same batch on-policy, whenever the run ended.
        """
        open_tickets = [*(self._tickets | self._passed_over).values(), *self._again]
        in_flight = [(ticket.serial, ticket.epoch, ticket.problem.id) for ticket in open_tickets]
        account = self.ledger.state(reopened=self._passed_over)
        state = {"sampler": self.sampler.state(), "ledger": account, "in_flight": sorted(in_flight)}
        if self._by_index:
            state["traces"] = saved_traces(open_tickets)
        if self.baselines is not None:
            state |= {"baselines": self.baselines.state(), "known": saved_baselines(open_tickets)}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``: groups that were in flight are submitted first, under their serials.

        Raises:
            DataError: the state is that of other data.
        """
        self.sampler.restore(state["sampler"])
        self.ledger.restore(state["ledger"])
        self._again = deque(saved_tickets(state, self.sampler.problem))
        if self.baselines is not None:
            self.baselines.restore(state["baselines"])

    def _admit(self) -> None:
        while self.ledger.outstanding + self._zero_signal < self.capacity:
            ticket = self._next_ticket()
            task = asyncio.create_task(self._run(ticket), name=f"group-{ticket.serial}")
            self._tickets[ticket.serial] = ticket
            self._tasks[ticket.serial] = task

    def _next_ticket(self) -> Ticket:
        """The next group: first those that the run before this one had in flight."""
        if self._again:
            ticket = self._again.popleft()
            self.ledger.submit_again(ticket.serial)
            return ticket if ticket.traces else replace(ticket, submitted_version=self.version)
        epoch, problem = self.sampler.next()
        known = None if self.baselines is None else self.baselines.known(problem)
        return Ticket(self.ledger.submit(), epoch, problem, self.version, known)

    async def _run(self, ticket: Ticket) -> Group:
        try:
            group = await self.rollout.run(ticket)
        finally:
            self._ended.add(ticket.serial)
            self._one_ended.set()
        self.ledger.ready(ticket.serial)
        return group

    async def _consume_one(self, builder: BatchBuilder) -> None:
        serial = await self._next_serial()
        task = self._tasks.pop(serial)
        self._ended.discard(serial)
        try:
            group = task.result()
        except GroupFailed as failure:
            self._end(serial)
            self.ledger.failed(serial)
            self._count_failure(builder, failure)
            return
        scored = score_group(group, self.algorithm)
        if self.version - group.oldest_version > self.stream.max_staleness:
            self._end(serial)
            self.ledger.dropped(serial)
            builder.dropped += 1
        elif scored.has_signal:
            self.ledger.training(serial)
            builder.take(scored)
        else:
            self._pass_over(serial)
            builder.pass_over(scored)
            self._zero_signal = len(builder.zero_signal)

    def _scored(self, batch: GroupBatch) -> GroupBatch:
        """``batch`` with final advantages; where these leave no signal, its groups end filtered."""
        groups = score_batch(batch.groups, batch.zero_signal, self.algorithm)
        if any(scored.has_signal for scored in groups):
            return replace(batch, groups=groups)
        for scored in groups:
            self._pass_over(scored.group.serial)
        self._zero_signal += len(groups)
        return replace(batch, groups=(), zero_signal=groups + batch.zero_signal)

    async def _next_serial(self) -> int:
        """The group to consume next: the oldest by index or on-policy, else the oldest of those that are done."""
        if self._by_index or self.stream.max_staleness == 0:
            serial = min(self._tasks)
            await asyncio.wait([self._tasks[serial]])
            return serial
        while not self._ended:
            self._one_ended.clear()
            await self._one_ended.wait()
        return min(self._ended)

    async def _traces_written(self) -> None:
        """Wait until the planner owes no trace to any group that was submitted.

        A group that ended by a fault of ours raises it now, not when it is consumed: what is saved then has the weights
        that its traces are written by again.
        """
        for serial, task in list(self._tasks.items()):
            written = asyncio.ensure_future(self._tickets[serial].written.wait())
            try:
                await asyncio.wait([task, written], return_when=asyncio.FIRST_COMPLETED)
            finally:
                written.cancel()
            if task.done() and not isinstance(task.exception(), GroupFailed):
                task.result()

    def _count_failure(self, builder: BatchBuilder, failure: GroupFailed) -> None:
        builder.failures[str(failure)] += 1
        builder.failed += 1
        if builder.failed > self.stream.max_failed_groups:
            causes = "\n  ".join(builder.failures)
            raise StreamError(
                "stream",
                f"{builder.failed} groups failed in one step, more than stream.max_failed_groups="
                f"{self.stream.max_failed_groups}; the causes:\n  {causes}",
            )

    def _count_baselines(self, batch: GroupBatch) -> None:
        """What the groups of a batch have drawn without a trace counts for those submitted from now on."""
        tickets = self._tickets | self._passed_over
        for group in (scored.group for scored in batch.seen):
            if group.baseline is None:
                continue
            self.sampler.measured(group.problem, group.baseline)
            before = tickets[group.serial].known
            if self.baselines is not None and before is not None:
                self.baselines.add(group.problem, before, group.baseline)

    def _pass_over(self, serial: int) -> None:
        self._passed_over[serial] = self._tickets.pop(serial)
        self.ledger.filtered(serial)

    def _end(self, serial: int) -> None:
        self._tickets.pop(serial)


class BatchBuilder:
    """Gathers the ``wanted`` groups of one batch; of those without signal up to ``max_refills`` are replaced."""

    def __init__(self, wanted: int, max_refills: int) -> None:
        self.wanted = wanted
        self.max_refills = max_refills
        self.groups: list[ScoredGroup] = []
        self.zero_signal: list[ScoredGroup] = []
        self.replaced: list[ScoredGroup] = []
        self.failures: Counter[str] = Counter()
        self.dropped = 0
        self.failed = 0
        self.cap_reached = False

    @property
    def complete(self) -> bool:
        """Whether the batch has all of its groups."""
        return self.gathered >= self.wanted

    @property
    def gathered(self) -> int:
        """Groups that count as part of the batch so far."""
        return len(self.groups) + len(self.zero_signal)

    def take(self, scored: ScoredGroup) -> None:
        """A group to train on."""
        self.groups.append(scored)

    def pass_over(self, scored: ScoredGroup) -> None:
        """A group without signal: replaced while refills are left, else part of the batch."""
        if len(self.replaced) < self.max_refills:
            self.replaced.append(scored)
        else:
            self.zero_signal.append(scored)
            self.cap_reached = self.max_refills > 0

    def batch(self) -> GroupBatch:
        """The batch."""
        return GroupBatch(
            tuple(self.groups),
            tuple(self.zero_signal),
            tuple(self.replaced),
            self.dropped,
            self.failed,
            self.cap_reached,
        )
