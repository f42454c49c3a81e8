"""What goes wrong with a job server is one line that says where, and what to do; a job is followed to its end."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus

from actors import jobs
from actors.jobs import CONNECTED_S, followed, job_server, told_of
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.training.ranks import free_port

ADDRESS = "http://head:8265"
REFUSED = AuthenticationError("Forbidden: Invalid authentication token\n\nhelp of many lines")
REPLY = "Request failed with status code 500: Traceback (most recent call last):\n  File …\nValueError: no such job\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (REFUSED, f"{ADDRESS} refuses this client, its token is missing or wrong"),
        (ConnectionError("Failed to connect\nto Ray"), f"nothing answers at {ADDRESS}; give that of a running head's"),
        (RuntimeError(REPLY), f"{ADDRESS}: ValueError: no such job"),
        (TimeoutError("took too long"), f"{ADDRESS}: took too long"),
        (ValueError(""), f"{ADDRESS}: no reason was given"),
    ],
    ids=["token", "connection", "reply", "network", "silent"],
)
def test_an_error_of_a_job_server_is_one_line_with_its_address(error: Exception, line: str) -> None:
    with pytest.raises(InfrastructureError) as told, told_of(ADDRESS):
        raise error
    assert line in str(told.value) and "\n" not in str(told.value) and told.value.__suppress_context__


def test_a_token_that_is_missing_or_wrong_comes_with_how_to_set_it() -> None:
    with pytest.raises(InfrastructureError) as told, told_of(ADDRESS):
        raise REFUSED
    assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token" in str(told.value)


def test_what_is_no_error_of_the_server_passes() -> None:
    with pytest.raises(KeyboardInterrupt), told_of(ADDRESS):
        raise KeyboardInterrupt
    with pytest.raises(AssertionError, match="ours"), told_of(ADDRESS):
        raise AssertionError("ours")
    with told_of(ADDRESS):
        pass


def test_an_address_at_which_nothing_listens_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")  # another in the environment does not count
    with pytest.raises(InfrastructureError, match=f"nothing answers at {address}; .* dashboard") as told:
        job_server(address)
    assert "\n" not in str(told.value)


def test_ray_says_nothing_of_its_own_about_packages_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", ADDRESS)  # which it sets
    with pytest.raises(InfrastructureError):
        job_server(f"http://127.0.0.1:{free_port()}")
    speakers = ("_private.runtime_env.packaging", "dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk")
    assert not [each for each in speakers if logging.getLogger(f"ray.{each}").isEnabledFor(logging.WARNING)]


def test_an_address_whose_packets_are_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def lost(*_: Any, timeout: Any = None, **__: Any) -> None:
        waits.append(timeout)
        raise requests.ConnectTimeout("timed out")

    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", ADDRESS)  # which it sets
    monkeypatch.setattr(requests, "request", lost)
    with pytest.raises(InfrastructureError, match=f"nothing answers at {ADDRESS}"):
        job_server(ADDRESS)
    assert waits == [(CONNECTED_S, None)]


class Tails:
    """A job server whose stream of a job's output ends time after time, each time as one of ``tails`` does.

    The job runs until all but ``after`` of them ended.
    """

    def __init__(self, *tails: tuple[str | Exception, ...], after: int = 0) -> None:
        self._tails, self._after = list(tails), after

    async def tail_job_logs(self, job: str) -> Any:
        for each in self._tails.pop(0):
            if isinstance(each, Exception):
                raise each
            yield each

    def get_job_info(self, job: str) -> Any:
        over = len(self._tails) <= self._after
        return SimpleNamespace(status=JobStatus.SUCCEEDED if over else JobStatus.RUNNING)


GONE = aiohttp.ServerDisconnectedError()
BROKEN = RuntimeError("WebSocket connection closed unexpectedly with close code 1006")


@pytest.mark.parametrize(
    ("server", "shown", "lost"),
    [
        (Tails(("one\n", "two\n")), "one\ntwo\n", []),
        (Tails(("one\n",), ("one\ntw", "o\n")), "one\ntwo\n", ["the stream was closed"]),
        (Tails(("one\n", GONE), (GONE,), ("one\ntwo\n",)), "one\ntwo\n", ["Server disconnected"]),
        (
            Tails((GONE,), ("one\n",), ("one\n", "two\n")),
            "one\ntwo\n",
            ["Server disconnected", "the stream was closed"],
        ),
        (Tails((GONE,), (GONE,), (GONE,), (GONE,), after=1), "", ["Server disconnected"]),
        (Tails(("one\n", BROKEN), ("one\ntwo\n",), after=1), "one\ntwo\n", [str(BROKEN)]),
    ],
    ids=["whole", "closed", "broken", "twice", "refused", "broken at the end"],
)
async def test_a_job_is_followed_to_its_end_over_every_loss_of_its_output(
    server: Any, shown: str, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "AGAIN_S", 0.0)
    text, causes = list[str](), list[str]()
    details = await followed(server, "raysubmit_1", text.append, causes.append)
    assert (details.status, "".join(text), causes) == (JobStatus.SUCCEEDED, shown, lost)
