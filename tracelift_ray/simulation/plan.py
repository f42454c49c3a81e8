"""What a seed stands for: the size and kind of a run (``Scenario``), and a list of faults that befall it.

A fault is given by where it strikes and at which call or event there, so that a run with fewer of them is a run, too:
that is how a failure is shrunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

#: What may go wrong with a call to a member of a pool. late: it goes on working after it was given up on.
CALL_FAULTS = ("slow", "slow", "late", "twice", "error", "error", "error", "die", "hang", "freeze", "bug")
#: What may go wrong elsewhere, by place. Places that are not listed take ``CALL_FAULTS``.
OTHER_FAULTS: dict[str, tuple[str, ...]] = {
    "process": ("kill", "kill", "power", "interrupt", "interrupt"),
    "learner.update": ("slow", "error", "kill"),
    "learner.send_weights": ("slow", "error", "broken"),
    "learner.save": ("full", "error", "kill"),
    "disk": ("full", "kill", "power"),
    "planner.receive_weights": ("slow", "die", "hang", "error", "corrupt", "broken", "freeze"),
    "planner.start": ("slow", "error", "die"),
}
#: Methods of members that most faults strike, and that none does.
_WORK = ("generate", "verify", "score", "receive_weights")
_RARE = ("close", "health")
#: Each of these ends a start of the run.
_ENDING = ("bug", "corrupt", "broken")
#: These end the process at once, with all that it holds.
DEADLY = frozenset({"kill", "power"})


@dataclass(frozen=True)
class Scenario:
    """A run to simulate. Fields that ``RunConfig`` has mean the same."""

    seed: int
    steps: int
    groups_per_step: int
    group_size: int
    max_staleness: int
    updates_per_batch: int
    max_refills: int
    min_traces: int
    arm: str
    baseline: Literal["per_group", "cached", "pooled"]
    problems: int
    workers: int
    capacity: int
    retries: int
    save_every: int
    evaluate_every: int
    simultaneous: bool
    shared_gpus: bool
    shuffled: bool
    order: Literal["arrival", "submission"]
    e2e: Literal["leave_one_out", "fresh"]
    curriculum: bool = False
    near: bool = False  # executor calls of a problem follow each other to one member

    @property
    def by_index(self) -> bool:
        """Whether a run without losses has one stream only, however fast its parts are."""
        return self.max_staleness == 0 or self.order == "submission"


@dataclass(frozen=True)
class Fault:
    """``kind`` strikes at the call or event number ``at`` (from 0) of ``where``, and at the ``times`` - 1 after it."""

    where: str
    at: int
    kind: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.kind}@{self.where}#{self.at}" + (f"x{self.times}" if self.times > 1 else "")


def draw_scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = Random(f"scenario/{seed}")
    staleness = rng.choice((0, 0, 0, 1, 2))
    group_size = rng.choice((2, 2, 3))
    arm = rng.choice(("tracelift", "exec_only"))
    scenario = Scenario(
        seed=seed,
        steps=rng.randint(3, 4) + staleness,
        groups_per_step=rng.choice((1, 2) if staleness else (1, 2, 2, 3)),
        group_size=group_size,
        max_staleness=staleness,
        updates_per_batch=rng.choice((1, 1, 2)),
        max_refills=rng.choice((0, 0, 2)),
        min_traces=group_size - rng.choice((0, 1)) or 1,
        arm=arm,
        baseline=rng.choice(("per_group", "per_group", "cached")),
        problems=rng.choice((5, 7, 11)),
        workers=rng.choice((1, 2, 2)),
        capacity=rng.choice((1, 2, 4)),
        retries=rng.choice((1, 2)),
        save_every=rng.choice((1, 1, 2)),
        evaluate_every=rng.choice((0, 1, 2)),
        simultaneous=rng.random() < 0.6,
        shared_gpus=staleness == 0 and rng.random() < 0.3,
        shuffled=rng.random() < 0.75,
        order="submission" if staleness and rng.random() < 0.4 else "arrival",
        e2e="fresh" if seed % 2 else "leave_one_out",  # as many samples either way
        near=seed % 4 == 1,
    )
    if rng.random() < 0.2:
        scenario = replace(scenario, baseline="pooled")
    if arm == "tracelift" and Random(f"scenario/curriculum/{seed}").random() < 0.25:
        scenario = replace(scenario, curriculum=True, problems=3)  # few, so that they come again
    return scenario


def draw_faults(seed: int, calls: Mapping[str, int]) -> tuple[Fault, ...]:
    """The faults of a seed, spread over what an undisturbed run of its scenario does: ``calls`` by place."""
    rng = Random(f"faults/{seed}")
    places = sorted(place for place, count in calls.items() if count and place.rpartition(".")[2] not in _RARE)
    work = [place for place in places if place.rpartition(".")[2] in _WORK]
    faults = []
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 6))):
        place = rng.choice(rng.choice((work, work, ["process"], places)))
        kind = rng.choice(OTHER_FAULTS.get(place, CALL_FAULTS))
        times = rng.choice((1, 1, 2, 4, 8, 16)) if place in work and kind not in _ENDING else 1
        faults.append(Fault(place, rng.randrange(calls[place]), kind, times))
    return tuple(sorted(set(faults), key=lambda fault: (fault.where, fault.at, fault.kind)))


class Faults:
    """Counts what happens at each place, and gives the fault that is due there."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.calls: Counter[str] = Counter()
        self.struck: list[Fault] = []
        self._due = {(fault.where, fault.at + n): fault for fault in faults for n in range(fault.times)}

    def take(self, where: str) -> str:
        """The kind of fault that strikes the next call of ``where``; empty for none."""
        number = self.calls[where]
        self.calls[where] += 1
        if not self._due:
            return ""
        fault = self._due.pop((where, number), None)
        if fault is None:
            return ""
        self.struck.append(fault)
        return fault.kind
