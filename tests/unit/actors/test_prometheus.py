"""The gauges that Ray's endpoint shows."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from actors import prometheus as module
from actors.prometheus import PrometheusSink


class Gauge:
    made: ClassVar[list[Gauge]] = []

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.keys, self.values = name, set(tag_keys), dict[tuple[str, str], float]()
        self.made.append(self)

    def set(self, value: float, tags: dict[str, Any]) -> None:
        assert tags.keys() == self.keys
        self.values[tags["run"], tags["of"]] = value


def test_a_gauge_for_each_name_holds_the_newest_value_by_run_and_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gauge, "made", [])
    monkeypatch.setattr(module, "Gauge", Gauge)
    sink = PrometheusSink("mine", print)
    sink.log(1, {"reward/mean": 0.1, "reward/math/mean": 0.2})
    sink.log(2, {"reward/mean": 0.3})
    assert {gauge.name: gauge.values for gauge in Gauge.made} == {
        "tracelift_reward_mean": {("mine", ""): 0.3, ("mine", "math"): 0.2},
        "tracelift_run_step": {("mine", ""): 2.0},
    }


def test_a_failure_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **more: Any) -> None:
        raise RuntimeError("no agent")

    said: list[str] = []
    monkeypatch.setattr(module, "Gauge", fail)
    sink = PrometheusSink("mine", said.append)
    sink.log(1, {"reward/mean": 0.1})
    sink.log(2, {"reward/mean": 0.1})
    assert len(said) == 1 and said[0].startswith("Prometheus: stopped (no agent)")


def test_rays_own_gauges_take_these_names_and_labels_before_there_is_a_ray() -> None:
    said: list[str] = []
    PrometheusSink("mine", said.append).log(1, {"processes/planner/0/rss_mib": 0.1, "evaluation/gym:x/accuracy": 1.0})
    assert said == []
