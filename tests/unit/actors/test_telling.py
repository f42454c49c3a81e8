"""A failure inside an actor, and a cluster that lets nobody in, each reach a person as one line."""

from __future__ import annotations

import os
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError, RayError, RayTaskError

from actors.runtime import connected
from actors.telling import reason_of, told_cause, told_in_one_line
from tests.configs import run_config
from tracelift_ray.config.errors import last_line
from tracelift_ray.errors import DataError, InfrastructureError
from tracelift_ray.training.ranks import free_port

COLOURED = (
    "1 validation error for ModelConfig\n  \x1b[31mValue error, too long\x1b[0m\n    For further information visit x"
)


def test_the_last_line_that_says_something_is_kept_without_colours() -> None:
    assert last_line(COLOURED) == "Value error, too long"
    assert last_line("\n \n") == "no reason was given"
    assert len(last_line("x" * 900)) == 300


def test_an_engine_that_does_not_start_is_one_line_and_its_traceback_stays_in_the_actors_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InfrastructureError) as refused, told_in_one_line():
        raise ValueError(COLOURED)
    assert str(refused.value).startswith("actor: ValueError: Value error, too long; more is in ")
    assert "Traceback (most recent call last)" in capfd.readouterr().err
    with pytest.raises(InfrastructureError, match=r"^vllm: it did not start; more is in "), told_in_one_line():
        raise InfrastructureError("vllm", "it did not start")


def test_faults_of_data_cross_from_an_actor_as_they_are() -> None:
    fault = DataError("f.jsonl:3: answer: must be a number")
    with pytest.raises(DataError) as crossed, told_in_one_line():
        raise fault
    assert crossed.value is fault
    assert told_cause(RayTaskError("start", "Traceback\n" * 80, fault)) is fault
    ours = RayTaskError("work", "Traceback", TypeError("a fault of the program"))
    assert told_cause(ours) is ours


def test_the_death_of_an_actor_has_a_reason_without_colours() -> None:
    died = RayError("The actor died\n\x1b[36mMemoryError: no room\x1b[0m Some common causes include: (1)")
    assert reason_of(died) == "MemoryError: no room"


@pytest.mark.parametrize(
    ("raised", "noise", "says"),
    [
        (AuthenticationError("Token authentication is enabled but\n" * 9), "", "no token for the Ray cluster at"),
        (ConnectionError("Failed"), "InvalidAuthToken: missing or incorrect\n" * 20, "its token is missing or wrong"),
        (ConnectionError("Failed to connect"), "", "start one with `ray start --head`"),
    ],
)
def test_a_cluster_that_refuses_is_one_line(
    raised: Exception, noise: str, says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def init(**options: Any) -> None:
        os.write(2, noise.encode())
        raise raised

    monkeypatch.setattr(ray, "init", init)
    config = run_config("cluster=ray", "cluster.address=auto").cluster
    with pytest.raises(InfrastructureError) as refused, connected(config, 1.0):
        pass
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert ("RAY_AUTH_TOKEN" in str(refused.value)) == ("token" in says)
    assert capfd.readouterr().err == ""


def test_an_address_where_nothing_listens_is_refused_before_ray_waits_for_it() -> None:
    config = run_config("cluster=ray", f"cluster.address=127.0.0.1:{free_port()}").cluster
    with pytest.raises(InfrastructureError, match=r"nothing listens at 127\.0\.0\.1:"), connected(config, 1.0):
        pass
