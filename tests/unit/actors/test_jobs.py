"""What goes wrong with a job server is one line that says where, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from ray.exceptions import AuthenticationError

from actors.jobs import CONNECTED_S, job_server, told_of
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
