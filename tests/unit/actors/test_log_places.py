"""The line about the logs of actors says when other nodes have their own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from actors.runtime import log_places


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ([], "their logs are in /tmp/ray/session/logs"),
        ([False], "their logs are in /tmp/ray/session/logs"),
        ([True], "on this node their logs are in /tmp/ray/session/logs; the other node has theirs in the same folder"),
        ([True, True, False], "; the 2 other nodes have theirs in the same folder (`ray logs` shows all)"),
    ],
)
def test_the_logs_of_other_nodes_are_there(others: list[bool], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": alive} for alive in (True, *others)])
    node = SimpleNamespace(get_session_dir_path=lambda: "/tmp/ray/session")
    monkeypatch.setattr("ray._private.worker._global_node", node)
    assert says in log_places() and ("other" in says) == any(others)
