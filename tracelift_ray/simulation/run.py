"""Runs seeds: what came of each, and the fewest faults that a failing one still fails with."""

from __future__ import annotations

import gc
import hashlib
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.rl.loop import Interrupted
from tracelift_ray.simulation.clock import Deadlock, Killed
from tracelift_ray.simulation.disk import SimulatedDisk
from tracelift_ray.simulation.plan import Fault, Faults, Scenario, draw_faults, draw_scenario
from tracelift_ray.simulation.watch import Watch
from tracelift_ray.simulation.world import POOLS, Broken, World, run_config
from tracelift_ray.training import checkpoint

#: A run may be started again so often; each fault ends one start at most.
MOST_STARTS = 12
#: A member that fails in one of these ways costs the run that member, not more.
BORNE = frozenset({"slow", "late", "twice", "error", "die", "hang", "freeze"})


@dataclass(frozen=True)
class Outcome:
    """What came of one simulated run.

    Attributes:
        violation: the first rule that did not hold, with details; empty where all did.
        at_s: virtual time of that, in the process that it happened in.
        digest: of every event.
        consumed: per step the version, and each group's serial, epoch, problem and rewards.
        weights: the learner's at the end.
        gaps: traces and groups lost to faults.
        calls: how often each place was passed.
        events: the log.
    """

    scenario: Scenario
    faults: tuple[Fault, ...]
    violation: str
    at_s: float
    digest: str
    consumed: tuple
    weights: str
    gaps: int
    calls: Counter[str]
    events: tuple


def simulate(base: RunConfig, seed: int, steps: int = 0) -> Outcome:
    """The run of a seed: without its faults, then with them; the first that breaks a rule. ``steps`` 0: as it says."""
    scenario = draw_scenario(seed)
    scenario = replace(scenario, steps=steps or scenario.steps)
    calm = run_scenario(base, replace(scenario, shuffled=not scenario.shuffled), ())
    if calm.violation:
        return calm
    return disturbed(base, scenario, draw_faults(seed, calm.calls), calm)


def disturbed(base: RunConfig, scenario: Scenario, faults: Sequence[Fault], calm: Outcome) -> Outcome:
    """The run of a scenario with faults, compared with one without where nothing was lost to them."""
    outcome = run_scenario(base, scenario, faults)
    if outcome.violation or outcome.gaps or not scenario.by_index:
        return outcome
    for found, expected in zip(outcome.consumed, calm.consumed, strict=True):
        if found != expected:
            rule = f"a disturbed run has the stream of an undisturbed one: {found} for {expected}"
            return replace(outcome, violation=rule)
    if outcome.weights != calm.weights:
        return replace(outcome, violation="a disturbed run ends with the weights of an undisturbed one")
    return outcome


def shrink(base: RunConfig, failing: Outcome) -> Outcome:
    """The same failure with as few faults as dropping them one by one leaves."""
    scenario = failing.scenario
    calm = run_scenario(base, replace(scenario, shuffled=not scenario.shuffled), ())
    if calm.violation:
        return failing
    faults = list(failing.faults)
    for fault in tuple(faults):
        fewer = [each for each in faults if each != fault]
        found = disturbed(base, scenario, fewer, calm)
        if found.violation:
            faults, failing = fewer, found
    return failing


def run_scenario(base: RunConfig, scenario: Scenario, faults: Sequence[Fault]) -> Outcome:
    """Start the run, and start it again as often as a fault ends it, until it is over or a rule is broken."""
    with _undisturbed():
        return _ran(base, scenario, faults)


def _ran(base: RunConfig, scenario: Scenario, faults: Sequence[Fault]) -> Outcome:
    due = Faults(faults)
    watch = Watch(scenario, run_config(base, scenario).reward)
    disk = SimulatedDisk()
    try:
        with patch.object(checkpoint, "os", disk):
            world = _lives(base, scenario, due, watch, disk)
        lost = watch.account.gaps - list(watch.account.ended.values()).count("dropped")
        watch.check(bool(due.struck) or not lost, "without a fault nothing is lost", lost)
    finally:
        disk.remove()
    return Outcome(
        scenario=scenario,
        faults=tuple(faults),
        violation=watch.violations[0] if watch.violations else "",
        at_s=world.loop.time(),
        digest=hashlib.blake2b(repr(watch.events).encode(), digest_size=8).hexdigest(),
        consumed=tuple(watch.account.consumed),
        weights=world.learner.weights,
        gaps=watch.account.gaps,
        calls=due.calls,
        events=tuple(watch.events),
    )


def _lives(base: RunConfig, scenario: Scenario, due: Faults, watch: Watch, disk: SimulatedDisk) -> World:
    """One process after the other; the last of them."""
    for life in range(MOST_STARTS):
        world = World(base, scenario, due, watch, disk, life)
        if _one_life(world, watch) or watch.violations:
            return world
    watch.violations.append("a run that is started again comes to its end")
    return world


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No log lines, and no garbage collection at moments that the seed does not decide.

    What coroutines of a dead process do when they are collected is of no effect, and not worth a line.
    """
    logging.disable(logging.CRITICAL)
    gc.disable()
    gc.freeze()  # so that the collection at the end looks at what the run made, and at nothing else
    try:
        with warnings.catch_warnings(), patch.object(sys, "unraisablehook", lambda _: None):
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
            gc.collect()
    finally:
        gc.unfreeze()
        gc.enable()
        logging.disable(logging.NOTSET)


def _one_life(world: World, watch: Watch) -> bool:
    """Run one process; whether the run is over."""
    struck = len(world.faults.struck)
    try:
        world.run()
    except Killed:
        return False
    except Broken:
        return True
    except Deadlock as error:
        watch.live = True
        watch.check(False, "every wait ends", error)
        return True
    except Interrupted:
        watch.check(any(f.kind == "interrupt" for f in world.faults.struck[struck:]), "only an interrupt interrupts")
        return False
    except Exception as error:  # what ends a run: a fault must be its cause
        world.event("end", repr(error))
        watch.check(_may_end(world.faults.struck[struck:]), "a run ends only for a cause", repr(error))
        return False
    watch.over()
    return True


def _may_end(causes: Sequence[Fault]) -> bool:
    """Whether a run may fail after these faults: not after a single one that costs no more than a member."""
    if len(causes) != 1:
        return bool(causes)
    pool, _, method = causes[0].where.partition(".")
    if pool == "learner" and causes[0].kind == "error":
        return False  # it is started again
    return causes[0].kind not in BORNE or method == "start" or pool not in POOLS
