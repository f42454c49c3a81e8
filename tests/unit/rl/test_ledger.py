"""Every group ends exactly once, and the account holds at every moment (invariant 1)."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tracelift_ray.rl.ledger import END_STATES, OPEN_STATES, Ledger

NEXT = {
    "running": ("ready", "filtered", "dropped", "failed"),
    "ready": ("training", "filtered", "dropped", "failed"),
    "training": ("trained", "filtered", "dropped", "failed"),
}


def balanced(ledger: Ledger) -> bool:
    return ledger.submitted == sum(ledger.count(state) for state in (*OPEN_STATES, *END_STATES))


@pytest.mark.parametrize("seed", range(5))
def test_random_lives_of_groups_keep_the_account(seed: int) -> None:
    rng = random.Random(seed)
    ledger = Ledger()
    model: dict[int, str] = {}
    for _ in range(2_000):
        open_groups = [serial for serial, state in model.items() if state in NEXT]
        if not open_groups or rng.random() < 0.3:
            model[ledger.submit()] = "running"
        else:
            serial = rng.choice(open_groups)
            model[serial] = rng.choice(NEXT[model[serial]])
            getattr(ledger, model[serial])(serial)
        assert balanced(ledger)
        counts = Counter(model.values())
        assert {state: ledger.count(state) for state in (*OPEN_STATES, *END_STATES) if ledger.count(state)} == counts
        assert ledger.outstanding == sum(counts[state] for state in OPEN_STATES)
    assert sorted(model) == list(range(ledger.submitted))
    for state in OPEN_STATES:
        assert ledger.serials(state) == tuple(serial for serial in sorted(model) if model[serial] == state)


@pytest.mark.parametrize("first", END_STATES)
@pytest.mark.parametrize("second", (*END_STATES, "ready", "training"))
def test_a_group_that_ended_cannot_move_again(first: str, second: str) -> None:
    ledger = Ledger()
    serial = ledger.submit()
    if first == "trained":
        ledger.ready(serial)
        ledger.training(serial)
    getattr(ledger, first)(serial)
    with pytest.raises(RuntimeError, match=f"group 0 cannot become {second}: it has already ended {first}"):
        getattr(ledger, second)(serial)
    assert balanced(ledger) and ledger.count(first) == 1  # type: ignore[arg-type]


def test_a_group_that_was_never_submitted_cannot_move() -> None:
    with pytest.raises(RuntimeError, match="group 7 cannot become ready: it was never submitted"):
        Ledger().ready(7)


@pytest.mark.parametrize(("move", "message"), [("trained", "it is running"), ("training", "it is running")])
def test_no_stage_is_skipped(move: str, message: str) -> None:
    ledger = Ledger()
    serial = ledger.submit()
    with pytest.raises(RuntimeError, match=message):
        getattr(ledger, move)(serial)
    assert ledger.count("running") == 1


def test_the_same_batch_cannot_be_taken_twice() -> None:
    ledger = Ledger()
    serial = ledger.submit()
    ledger.ready(serial)
    ledger.training(serial)
    with pytest.raises(RuntimeError, match="group 0 cannot become training: it is training"):
        ledger.training(serial)


def test_a_saved_account_keeps_ended_groups_and_gives_the_others_back() -> None:
    ledger = Ledger()
    serials = [ledger.submit() for _ in range(6)]
    for serial in serials[:3]:
        ledger.ready(serial)
    ledger.training(serials[0])
    ledger.training(serials[1])
    ledger.trained(serials[0])
    ledger.failed(serials[4])

    resumed = Ledger()
    resumed.restore(ledger.state())
    assert (resumed.submitted, resumed.outstanding) == (2, 0)
    assert (resumed.count("trained"), resumed.count("failed")) == (1, 1)
    resumed.submit_again(1)
    assert resumed.submit() == 6, "serials go on, so that none names two groups of one run"
    assert balanced(resumed)
    assert resumed.metrics()["groups/submitted"] == 4.0
    for known in (1, 7):  # runs already; never submitted
        with pytest.raises(RuntimeError, match=f"group {known} cannot be submitted again"):
            resumed.submit_again(known)


def test_an_ended_group_that_is_to_run_again_is_not_counted_in_a_saved_account() -> None:
    ledger = Ledger()
    for serial in (ledger.submit(), ledger.submit()):
        ledger.ready(serial)
        ledger.filtered(serial)
    resumed = Ledger()
    resumed.restore(ledger.state(reopened=[1]))
    resumed.submit_again(1)
    assert (resumed.submitted, resumed.count("filtered"), resumed.count("running")) == (2, 1, 1)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"next_serial": 1, "trained": 2, "filtered": 0, "dropped": 0, "failed": 0},
        {"next_serial": 3, "trained": -1, "filtered": 0, "dropped": 0, "failed": 0},
        {"next_serial": 3, "trained": 1, "filtered": 0, "dropped": 0, "failed": 0, "ready": 1},
    ],
)
def test_what_is_no_ledger_state_is_refused(state: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not the state of a ledger"):
        Ledger().restore(state)


def test_a_ledger_in_use_is_not_overwritten() -> None:
    ledger = Ledger()
    ledger.submit()
    with pytest.raises(RuntimeError, match="1 groups submitted cannot be restored"):
        ledger.restore(Ledger().state())
