"""Calls that are near each other go to one member, as far as that costs no balance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from tests.unit.pools.members import LIMITS, started
from tracelift_ray.pools import admission as admission_module
from tracelift_ray.pools.admission import Admission


@dataclass(eq=False)
class Place:
    """A member as admission sees it."""

    busy: int = 0
    capacity: int = 100


async def test_calls_near_each_other_go_to_one_member_and_others_to_the_least_busy_one() -> None:
    seats = [Place() for _ in range(4)]
    admission: Admission = Admission(lambda: seats)
    went: dict[str, set[int]] = {}
    for index in range(8):  # the traces of eight groups come in turns, each one when another has left
        for group in "abcdefgh":
            seat, since = await admission.enter("", near=group)
            went.setdefault(group, set()).add(seats.index(seat))
            if index % 2:
                admission.leave(seat, since)
    assert all(len(members) == 1 for members in went.values())
    assert Counter(member for members in went.values() for member in members) == dict.fromkeys(range(4), 2)
    assert [seat.busy for seat in seats] == [8] * 4


async def test_a_group_that_comes_at_once_is_spread_with_no_member_more_than_two_calls_ahead() -> None:
    seats = [Place() for _ in range(3)]
    admission: Admission = Admission(lambda: seats)
    for _ in range(20):
        await admission.enter("", near="a")
        busy = [seat.busy for seat in seats]
        assert max(busy) - min(busy) <= 2


async def test_how_busy_a_member_is_counts_by_its_room() -> None:
    seats = [Place(capacity=4), Place(capacity=100)]
    admission: Admission = Admission(lambda: seats)
    went = [seats.index((await admission.enter("", near="a"))[0]) for _ in range(12)]
    assert went == [0, 0] + [1] * 10, "its second call took a quarter of the room of the first"


async def test_a_member_that_is_full_or_gone_is_nobodys_home() -> None:
    seats = [Place(capacity=1), Place(capacity=1)]
    admission: Admission = Admission(lambda: seats)
    home, _ = await admission.enter("", near="a")
    assert (await admission.enter("", near="a"))[0] is not home
    fresh = Place()
    seats[:] = [fresh]
    assert (await admission.enter("", near="a"))[0] is fresh


async def test_only_the_names_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "REMEMBERED", 3)
    seats = [Place(), Place()]
    admission: Admission = Admission(lambda: seats)
    for name in ("a", "b", "a", "c", "d", ""):
        await admission.enter("", near=name)
    assert list(admission._homes) == ["a", "c", "d"]


async def test_a_retried_call_goes_elsewhere_and_its_group_follows() -> None:
    pool, _ = await started(LIMITS)
    assert await pool.call("work", 0.0, near="a") == 0
    assert await pool.call("fail_on", 0, near="a") == 1
    assert await pool.call("work", 0.0, near="a") == 1
    assert await pool.call("work", 0.0) == 0
    await pool.close()
