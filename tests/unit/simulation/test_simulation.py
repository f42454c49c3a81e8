"""Runs with faults under simulation: every rule holds, a seed is one run, and a broken rule is found and shrunk."""

from __future__ import annotations

import re
from dataclasses import replace
from unittest.mock import patch

import pytest

from launch.simulate import SimulateConfig, _many, main
from tests.commands import run_command
from tests.configs import run_config
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.simulation.plan import Fault, draw_faults, draw_scenario
from tracelift_ray.simulation.run import Outcome, run_scenario, shrink, simulate

BASE = run_config()
RARE = (
    300990,  # a call that was given up ends in an engine that has slept since
    314198,  # a call that waits in a paused engine is given up, and the engine gets weights that are corrupt
    302550,  # a health check ends at the very moment that a call comes
    380822,  # one member with one call at a time, and calls that straggle
    383879,  # power is lost while a run that was interrupted waits for a broadcast
    329360,  # an engine with corrupt weights writes a trace before the others have taken theirs
)


def broken_by(seeds: range, *rules: str) -> Outcome:
    """The first seed that breaks one of ``rules``, shrunk."""
    for seed in seeds:
        outcome = simulate(BASE, seed)
        if outcome.violation.startswith(rules):
            return shrink(BASE, outcome)
    raise AssertionError("no seed breaks it")


@pytest.mark.parametrize("first", range(0, 1000, 20))
def test_every_rule_holds_under_every_fault(first: int) -> None:
    failing = [outcome for seed in range(first, first + 20) if (outcome := simulate(BASE, seed)).violation]
    assert [(each.scenario.seed, each.violation, *map(str, each.faults)) for each in failing] == []


@pytest.mark.parametrize("seed", RARE)
def test_every_rule_holds_where_rare_faults_meet(seed: int) -> None:
    assert not simulate(BASE, seed).violation


def test_a_seed_gives_the_same_run_to_the_last_event() -> None:
    for seed in (3, 11, 16):
        first, second = simulate(BASE, seed), simulate(BASE, seed)
        assert len(first.events) > 50
        assert (first.digest, first.events) == (second.digest, second.events)


def test_the_faults_of_these_seeds_strike_and_cost_something() -> None:
    gaps = kills = 0
    for seed in range(30):
        scenario = draw_scenario(seed)
        faults = draw_faults(seed, run_scenario(BASE, scenario, ()).calls)
        outcome = run_scenario(BASE, scenario, faults)
        gaps += outcome.gaps > 0
        kills += any("death" in event for event in outcome.events)
    assert gaps >= 2 and kills >= 3


def test_a_process_that_is_killed_at_any_event_goes_on_as_if_it_had_not_been() -> None:
    scenario = replace(draw_scenario(0), max_staleness=0, arm="tracelift", groups_per_step=2, problems=11)
    calm = run_scenario(BASE, scenario, ())
    assert not calm.violation and calm.weights != "w"
    events = calm.calls["process"]
    for at in range(events // 16, events, events // 8):
        for kind in ("kill", "power", "interrupt"):
            outcome = run_scenario(BASE, scenario, [Fault("process", at, kind)])
            assert (outcome.violation, outcome.consumed, outcome.weights) == ("", calm.consumed, calm.weights)


def test_a_learner_that_is_lost_at_any_call_is_started_again_and_costs_nothing_but_time() -> None:
    scenario = replace(draw_scenario(0), max_staleness=0, arm="tracelift", groups_per_step=2, problems=11)
    calm = run_scenario(BASE, scenario, ())
    for where in ("learner.update", "learner.send_weights", "learner.save"):
        for at in range(calm.calls[where]):
            outcome = run_scenario(BASE, scenario, [Fault(where, at, "error")])
            assert (outcome.violation, outcome.consumed, outcome.weights) == ("", calm.consumed, calm.weights)
            said = [event[2] for event in outcome.events if event[1] == "message"]
            assert any("started again (1 of 3)" in line for line in said)
            assert not any(event[1] == "end" for event in outcome.events), "in the same process"


def test_a_place_that_is_not_given_back_is_found() -> None:
    ended = Scheduler._end

    def forget(self: Scheduler, serial: int) -> None:
        ended(self, serial)
        self.capacity -= 1

    with patch.object(Scheduler, "_end", forget):
        outcome = broken_by(range(5), "every wait ends", "a run ends only for a cause")
    assert not outcome.faults


def test_the_command_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert _many(SimulateConfig(20, 0, None, 1, False, 1, 1e-9), BASE) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"10 of 20 seeds, 0 failed, \d+ s, ETA \d+:\d\d:\d\d", first)
    assert second.startswith("20 of 20 seeds") and second.endswith(", ETA 0:00:00")


def test_the_command_says_which_seed_failed_and_how_to_see_it(capsys: pytest.CaptureFixture[str]) -> None:
    command = SimulateConfig(2, 0, None, 3, False, 1, 60.0)
    assert _many(command, BASE) == 0
    assert capsys.readouterr().out.startswith("2 seeds, 0 failed")
    with patch.object(Scheduler, "_end", lambda self, serial: None):
        assert _many(command, BASE) == 1
    said = capsys.readouterr().out.splitlines()
    assert run_command(main, "seeds=2", "steps=3", "processes=1").stdout.startswith("2 seeds, 0 failed")
    one = run_command(main, "seed=1", "steps=3", "verbose=true")
    assert one.code == 0 and len(one.stdout.splitlines()) > 20
    assert said[0].endswith("python -m launch.simulate seed=0 steps=3 verbose=true") and " at " in said[0]
