import asyncio

import pytest

from tracelift_ray.tracking.phases import PhaseClock


class Hand:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_shares_are_of_the_wall_time_since_the_last_reading() -> None:
    hand = Hand()
    clock = PhaseClock(hand)
    with clock.phase("rollout"):
        hand.now += 6
    with clock.phase("update"):
        hand.now += 3
    hand.now += 1
    assert clock.read() == {"time/step_s": 10.0, "time/rollout": 0.6, "time/update": 0.3}
    with clock.phase("update"):
        hand.now += 4
    assert clock.read() == {"time/step_s": 4.0, "time/rollout": 0.0, "time/update": 1.0}


def test_overlapping_sections_of_one_phase_count_once() -> None:
    hand = Hand()
    clock = PhaseClock(hand)
    with clock.phase("rollout"):
        hand.now += 1
        with clock.phase("rollout"):
            hand.now += 2
        hand.now += 1
    assert clock.read()["time/rollout"] == 1.0


def test_a_section_that_spans_readings_counts_in_both() -> None:
    hand = Hand()
    clock = PhaseClock(hand)
    with clock.phase("rollout"):
        hand.now += 2
        assert clock.read()["time/rollout"] == 1.0
        hand.now += 1
    hand.now += 1
    assert clock.read()["time/rollout"] == 0.5


async def test_a_cancelled_section_is_closed() -> None:
    hand = Hand()
    clock = PhaseClock(hand)

    async def work() -> None:
        with clock.phase("rollout"):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    hand.now += 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hand.now += 1
    assert clock.read()["time/rollout"] == 0.5
