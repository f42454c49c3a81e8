"""The types of the settings say every choice and range, and the loader holds values to them."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any, Literal

import pytest

from launch.serve_rm import ServeRmConfig
from tracelift_ray.config.described import field_types
from tracelift_ray.config.load import ConfigError, to_dataclass
from tracelift_ray.config.rules import Above, Address, AtLeast, Between, Count, Given, OneOf, Rule
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.dataset.settings import BuildGroupsConfig
from tracelift_ray.evaluation.settings import EvaluateConfig
from tracelift_ray.reasoning_rm.report.settings import RmReportConfig
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.training.supervised_settings import WarmStartConfig

SETTINGS = (
    RunConfig, EvaluateConfig, WarmStartConfig, TrainRmConfig, BuildGroupsConfig, ServeRmConfig, RmReportConfig
)  # fmt: skip
NAMES = ("alpha", "beta")


@dataclasses.dataclass(frozen=True)
class Ruled:
    """A field for each rule."""

    kind: Literal["plain", "chat"]
    stage: Literal[0, 1, 2]
    check: Literal["off", "on"] | None
    name: Annotated[str, OneOf("tests.unit.config.test_rules:NAMES", also=("auto",))]
    count: Annotated[int, AtLeast(2, "one is none")]
    rate: Annotated[float, Above(0)] | None
    share: Annotated[float, Between(0, 1, "[)")]
    path: Annotated[str, Given("a path")]
    url: Annotated[str, Address("a server", "http://a/v1")]
    cores: tuple[Count, ...]


VALID = {
    "kind": "chat",
    "stage": 2,
    "check": "off",
    "name": "beta",
    "count": 2,
    "rate": None,
    "share": 0,
    "path": "a",
    "url": "",
    "cores": [0, 3],
}


def test_values_within_their_rules_are_taken() -> None:
    ruled = to_dataclass(Ruled, VALID)
    assert (ruled.kind, ruled.stage, ruled.name, ruled.rate, ruled.cores) == ("chat", 2, "beta", None, (0, 3))
    assert to_dataclass(Ruled, {**VALID, "name": "auto", "url": "https://b"}).url == "https://b"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "chatt"}, "kind=chatt: must be plain or chat; did you mean chat?"),
        ({"kind": "xyz"}, "kind=xyz: must be plain or chat"),
        ({"stage": 3}, "stage=3: must be 0, 1 or 2"),
        ({"stage": True}, "stage=true: must be 0, 1 or 2"),
        ({"check": False}, "check=false: must be off or on, or null; quote on, off, yes and no in YAML"),
        ({"name": "bta"}, "name=bta: must be auto, alpha or beta; did you mean beta?"),
        ({"count": 1}, "count=1: must be 2 or more; one is none"),
        ({"count": "x"}, "count=x: must be a whole number"),
        ({"rate": 0}, "rate=0: must be above 0, or null"),
        ({"rate": "x"}, "rate=x: must be a finite number, or null"),
        ({"share": 1}, "share=1: must be 0 or more and below 1"),
        ({"path": " "}, "path='': must be a path"),
        ({"url": "b/v1"}, "url=b/v1: must be the address of a server, such as http://a/v1"),
        ({"cores": [1, -1]}, "cores[1]=-1: must be 0 or more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_broken_rule_names_key_value_and_what_would_be_right(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        to_dataclass(Ruled, {**VALID, **changes})
    assert str(caught.value) == message


def test_both_ends_of_a_range_are_as_written() -> None:
    held = {ends: [Between(0, 1, ends).holds(value) for value in (0, 0.5, 1)] for ends in ("[]", "[)", "(]", "()")}
    assert held == {"[]": [1, 1, 1], "[)": [1, 1, 0], "(]": [0, 1, 1], "()": [0, 1, 0]}
    assert not any(Between(0, 1).holds(value) for value in (-0.1, 1.1))


def numbers_without_rule(hint: Any) -> bool:
    """Whether a type holds a number that may have any value."""
    if any(isinstance(each, Rule) for each in getattr(hint, "__metadata__", ())):
        return False
    return hint in (int, float) or any(map(numbers_without_rule, typing.get_args(hint)))


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(settings: type) -> None:
    checked_elsewhere = {"reward.tie_table", "reward.options"}
    found = {key for key, hint in field_types(settings).items() if numbers_without_rule(hint)}
    assert found <= checked_elsewhere


@dataclasses.dataclass(frozen=True)
class Filed:
    """A name from a table, or a file."""

    prompt: Annotated[str, OneOf("tests.unit.config.test_rules:NAMES", or_file=True)]


def test_a_name_may_give_way_to_a_file() -> None:
    for file in ("mine.yaml", "/path/mine"):
        assert to_dataclass(Filed, {"prompt": file}).prompt == file
    with pytest.raises(ConfigError) as caught:
        to_dataclass(Filed, {"prompt": "alfa"})
    right = "must be alpha or beta, or the path of a YAML file; did you mean alpha?"
    assert str(caught.value) == f"prompt=alfa: {right}"
