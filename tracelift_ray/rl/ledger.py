"""The account of groups: each one submitted ends exactly once, and at every moment

    submitted = running + ready + training + trained + filtered + dropped + failed.

A group runs, is ready when all of its traces are scored, is in training while a batch holds it, and ends trained,
filtered (its rewards carry no signal), dropped (too stale) or failed (too few traces survived). Any other move raises
RuntimeError with the group's serial and both states, for it means that a group was lost or used twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal, get_args

OpenState = Literal["running", "ready", "training"]
EndState = Literal["trained", "filtered", "dropped", "failed"]
State = Literal[OpenState, EndState]

OPEN_STATES: tuple[OpenState, ...] = get_args(OpenState)
END_STATES: tuple[EndState, ...] = get_args(EndState)
_MOVES: dict[OpenState, tuple[State, ...]] = {
    "running": ("ready", "filtered", "dropped", "failed"),
    "ready": ("training", "filtered", "dropped", "failed"),
    "training": ("trained", "filtered", "dropped", "failed"),
}


class Ledger:
    """Knows the state of every group by its serial. Serials count from 0 in the order of submission."""

    def __init__(self) -> None:
        self._open: dict[int, OpenState] = {}
        self._ended: dict[int, EndState] = {}
        self._counts: dict[State, int] = dict.fromkeys((*OPEN_STATES, *END_STATES), 0)
        self._next_serial = 0
        self._submitted = 0

    def submit(self) -> int:
        """Open the account of a new group, which runs from now on; returns its serial."""
        serial = self._next_serial
        self._next_serial += 1
        return self._submit(serial)

    def submit_again(self, serial: int) -> None:
        """Open the account of a group that had not ended when the state was saved that this ledger goes on from.

        Raises:
            RuntimeError: no group before had this serial, or it is open or ended here.
        """
        if serial >= self._next_serial or serial in self._open or serial in self._ended:
            raise RuntimeError(f"group {serial} cannot be submitted again: it is no group of the saved state, or runs")
        self._submit(serial)

    def _submit(self, serial: int) -> int:
        self._submitted += 1
        self._open[serial] = "running"
        self._counts["running"] += 1
        self._check()
        return serial

    def ready(self, serial: int) -> None:
        """All traces of a running group are scored."""
        self._move(serial, "ready")

    def training(self, serial: int) -> None:
        """A batch took a ready group."""
        self._move(serial, "training")

    def trained(self, serial: int) -> None:
        """The learner has made its step with the group."""
        self._end(serial, "trained")

    def filtered(self, serial: int) -> None:
        """The group's rewards carry no signal."""
        self._end(serial, "filtered")

    def dropped(self, serial: int) -> None:
        """The group is too stale to be trained on."""
        self._end(serial, "dropped")

    def failed(self, serial: int) -> None:
        """Too few traces of the group survived."""
        self._end(serial, "failed")

    @property
    def submitted(self) -> int:
        """Groups submitted so far."""
        return self._submitted

    @property
    def outstanding(self) -> int:
        """Groups that have not ended."""
        return len(self._open)

    def count(self, state: State) -> int:
        """Groups that are in ``state`` now."""
        return self._counts[state]

    def serials(self, state: OpenState) -> tuple[int, ...]:
        """The groups that are in ``state`` now, in the order of submission."""
        return tuple(sorted(serial for serial, held in self._open.items() if held == state))

    def metrics(self) -> dict[str, float]:
        """Every count under ``groups/``, with ``groups/submitted``."""
        counts = {f"groups/{state}": float(count) for state, count in self._counts.items()}
        return {"groups/submitted": float(self._submitted), **counts}

    def state(self, reopened: Collection[int] = ()) -> dict[str, int]:
        """What a checkpoint keeps: the counts of ended groups, and the next serial.

        Groups that have not ended are not counted: the scheduler keeps their problems and serials, and submits them
        again on resume. They count as submitted then, so the account holds at every moment.

        Args:
            reopened: groups that ended here, and are to be submitted again all the same.
        """
        again = Counter(self._ended[serial] for serial in reopened)
        return {"next_serial": self._next_serial, **{end: self._counts[end] - again[end] for end in END_STATES}}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from ``state()``.

        Raises:
            RuntimeError: this ledger is in use.
            ValueError: ``state`` is not a ledger's.
        """
        if self._submitted:
            raise RuntimeError(f"a ledger with {self._submitted} groups submitted cannot be restored: use a new one")
        expected = {"next_serial", *END_STATES}
        whole = all(isinstance(value, int) and value >= 0 for value in state.values())
        if set(state) != expected or not whole or sum(state[end] for end in END_STATES) > state["next_serial"]:
            raise ValueError(f"not the state of a ledger: {dict(state)}")
        for end in END_STATES:
            self._counts[end] = state[end]
        self._submitted = sum(state[end] for end in END_STATES)
        self._next_serial = state["next_serial"]
        self._check()

    def _move(self, serial: int, to: OpenState) -> None:
        held = self._held(serial, to)
        self._open[serial] = to
        self._recount(held, to)

    def _end(self, serial: int, to: EndState) -> None:
        held = self._held(serial, to)
        del self._open[serial]
        self._ended[serial] = to
        self._recount(held, to)

    def _held(self, serial: int, to: State) -> OpenState:
        """The state that ``serial`` may leave for ``to``."""
        held = self._open.get(serial)
        if held is None and serial in self._ended:
            raise RuntimeError(f"group {serial} cannot become {to}: it has already ended {self._ended[serial]}")
        if held is None:
            raise RuntimeError(f"group {serial} cannot become {to}: it was never submitted")
        if to not in _MOVES[held]:
            raise RuntimeError(f"group {serial} cannot become {to}: it is {held}")
        return held

    def _recount(self, held: OpenState, to: State) -> None:
        self._counts[held] -= 1
        self._counts[to] += 1
        self._check()

    def _check(self) -> None:
        counted_open = sum(self._counts[state] for state in OPEN_STATES)
        if self._submitted != sum(self._counts.values()) or counted_open != len(self._open):
            raise RuntimeError(
                f"the account of groups is broken: {self._submitted} submitted, {len(self._open)} open, {self._counts}"
            )
