"""Signals of a run: what each asks for, and what is said where `ray job stop` leaves too little time."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from launch.stopping import heeding_signals, short_grace
from tests.hang import HANG_S
from tracelift_ray.rl.requests import Requests


async def test_the_first_signal_asks_a_loop_to_stop_and_usr1_asks_it_to_save() -> None:
    with heeding_signals() as signals:
        signals.hear()
        requests = Requests()
        signals.serve(requests)
        os.kill(os.getpid(), signal.SIGUSR1)
        while not requests.take_save():
            await asyncio.sleep(0.01)
        assert not requests.stopping
        os.kill(os.getpid(), signal.SIGTERM)
        while not requests.stopping:
            await asyncio.sleep(0.01)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the next one ends the process"


async def test_a_run_that_starts_is_cancelled_and_cleans_up() -> None:
    cleaned = []

    async def starting() -> None:
        with heeding_signals() as signals:
            signals.hear()
            os.kill(os.getpid(), signal.SIGUSR1)  # nothing to save yet
            await asyncio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.sleep(HANG_S)
            finally:
                cleaned.append(True)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(starting())
    assert cleaned == [True]


async def test_a_run_that_prepares_is_interrupted_at_once_and_not_by_usr1() -> None:
    with pytest.raises(KeyboardInterrupt), heeding_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(HANG_S)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, None),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, "after 3 s (RAY_JOB_STOP_WAIT_TIME_S is not set)"),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_JOB_STOP_WAIT_TIME_S": "10"}, "after 10 s"),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_JOB_STOP_WAIT_TIME_S": "300"}, None),
    ],
)
def test_too_short_a_grace_is_said_at_the_start(environment: dict[str, str], said: str | None) -> None:
    line = short_grace(environment)
    assert line is None if said is None else said in (line or "")
