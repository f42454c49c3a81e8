"""The identity of a group from its submission on, the traces that it has, and what a checkpoint keeps of both.

Where the order of submission is kept, a group that goes on after a resume keeps the traces that it had: the weights
that wrote them may be gone, and its executor's samples, verdicts and scores follow from the traces again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracelift_ray.types import Baseline, Completion, Problem, Trace


@dataclass(frozen=True)
class Ticket:
    """Which problem, when, and under which policy version.

    Attributes:
        known: what former groups make of the problem's baseline, where these are pooled.
        traces: those that the planner has written, by index; None for one that it failed to write.
        written: set once it owes none any more.
    """

    serial: int
    epoch: int
    problem: Problem
    submitted_version: int
    known: Baseline | None = None
    traces: dict[int, Trace | None] = field(default_factory=dict, compare=False, repr=False)
    written: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)

    def wrote(self, index: int, trace: Trace | None, group_size: int) -> None:
        """The planner has written a trace of ``group_size``, or failed to."""
        self.traces[index] = trace
        if len(self.traces) == group_size:
            self.written.set()


def saved_traces(tickets: Iterable[Ticket]) -> dict[str, Any]:
    """By serial the version and the traces of the tickets that have any, as JSON values."""
    kept = {}
    for ticket in tickets:
        traces = [asdict(trace) for trace in ticket.traces.values() if trace is not None]
        if traces:
            kept[str(ticket.serial)] = {"version": ticket.submitted_version, "traces": traces}
    return kept


def saved_baselines(tickets: Iterable[Ticket]) -> dict[str, Any]:
    """By serial what the groups know of their baselines, as JSON values."""
    return {str(ticket.serial): _counts(ticket.known) for ticket in tickets if ticket.known is not None}


def _counts(known: Baseline) -> dict[str, Any]:
    """The numbers of a baseline, without the executions that they count."""
    names = ("successes", "samples", "prior_successes", "prior_samples")
    return {name: getattr(known, name) for name in names}


def saved_tickets(state: Mapping[str, Any], problem: Callable[[str], Problem]) -> list[Ticket]:
    """The tickets of the groups in flight in a stream's state, in their order; ``problem`` finds one by its id.

    A checkpoint of version 0.1 may list them without serials: they are the last that were submitted.
    """
    groups, traces, known = state["in_flight"], state.get("traces", {}), state.get("known", {})
    first = state["ledger"]["next_serial"] - len(groups)
    numbered = (tuple(each) if len(each) == 3 else (first + place, *each) for place, each in enumerate(groups))
    tickets = []
    for serial, epoch, id in numbered:
        kept = traces.get(str(serial), {"version": 0, "traces": ()})
        baseline = Baseline(**known[str(serial)]) if str(serial) in known else None
        ticket = Ticket(serial, epoch, problem(id), kept["version"], baseline)
        ticket.traces.update((fields["index"], _trace(fields)) for fields in kept["traces"])
        tickets.append(ticket)
    return tickets


def _trace(fields: Mapping[str, Any]) -> Trace:
    written = dict(fields["completion"])
    written["token_ids"] = tuple(written["token_ids"])
    written["logprobs"] = None if written["logprobs"] is None else tuple(written["logprobs"])
    return Trace(**{**fields, "prompt_ids": tuple(fields["prompt_ids"]), "completion": Completion(**written)})
