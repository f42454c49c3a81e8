"""Conversion is strict, and says which key is wrong, what it holds and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.unit.config.composed import compose_config
from tracelift_ray.config.load import ConfigError, to_dataclass
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config

Run = Callable[..., RunConfig]


@dataclass(frozen=True)
class Inner:
    ratio: float
    pair: tuple[float, float]


@dataclass(frozen=True)
class Outer:
    count: int
    flag: bool
    words: tuple[str, ...]
    limit: float | None
    table: dict[int, float]
    inner: Inner


VALID = {
    "count": 3,
    "flag": True,
    "words": ["a", "b"],
    "limit": None,
    "table": {1: 0.5},
    "inner": {"ratio": 1, "pair": [0, 0.5]},
}


def convert(**changes: object) -> Outer:
    return to_dataclass(Outer, OmegaConf.create({**VALID, **changes}))


def test_values_become_the_annotated_types() -> None:
    outer = convert()
    assert outer == Outer(3, True, ("a", "b"), None, {1: 0.5}, Inner(1.0, (0.0, 0.5)))
    assert isinstance(outer.inner.ratio, float)
    assert isinstance(outer.inner.pair, tuple)


def test_a_whole_float_is_a_whole_number_and_a_number_is_a_word() -> None:
    outer = convert(count=3.0, words=[2024])
    assert outer.count == 3
    assert isinstance(outer.count, int)
    assert outer.words == ("2024",)


@pytest.mark.parametrize(
    ("changes", "key", "right"),
    [
        ({"count": 2.5}, "count", "whole number"),
        ({"count": True}, "count", "whole number"),
        ({"count": "x"}, "count", "whole number"),
        ({"count": None}, "count", "whole number"),
        ({"count": float("nan")}, "count", "whole number"),
        ({"count": float("inf")}, "count", "whole number"),
        ({"flag": 1}, "flag", "true or false"),
        ({"words": "a"}, "words", "write words=[a]"),
        ({"words": [True]}, "words[0]", "text"),
        ({"limit": "none"}, "limit", "number"),
        ({"limit": float("nan")}, "limit", "finite"),
        ({"table": [1]}, "table", "mapping"),
        ({"table": {"x": 1}}, "the key table.x", "whole number"),
        ({"table": {1: "x"}}, "table.1", "number"),
        ({"inner": 3}, "inner", "mapping"),
        ({"inner": {"ratio": 1, "pair": [1]}}, "inner.pair", "list of 2"),
        ({"inner": {"ratio": "a", "pair": [1, 2]}}, "inner.ratio", "number"),
        ({"inner": {"ratio": "???", "pair": [1, 2]}}, "inner.ratio", "needed"),
        ({"inner": {"pair": [1, 2]}}, "inner.ratio", "needed"),
        ({"inner": {"ratio": 1, "pair": [1, 2], "ratoi": 1}}, "inner.ratoi", "did you mean ratio?"),
        ({"zzz": 1}, "zzz", "there are: count, flag"),
    ],
)
def test_a_wrong_value_is_refused_by_key_value_and_rule(changes: dict[str, object], key: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(**changes)
    assert caught.value.key == key
    assert right in caught.value.right
    assert "\n" not in str(caught.value)


def test_a_value_made_from_a_missing_one_names_the_missing_one() -> None:
    with pytest.raises(ConfigError, match=r"^inner\.ratio: is needed"):
        convert(count="${inner.ratio}", inner={"ratio": "???", "pair": [1, 2]})


def test_a_value_made_from_nothing_that_exists_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^count: cannot be resolved: Interpolation key 'nowhere' not found"):
        convert(count="${nowhere}")


def test_every_path_is_absolute_from_where_the_command_runs(
    run_config: Run, base: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text("{}\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "mine.yaml").write_text("form: text\ntasks: {}\n")
    sources = ("data.train=[p.jsonl, demo:math]", "data.heldout=[]")
    composed = compose_config(*base, "run_dir=here/run", *sources, "resume=old", "planner.prompt=mine.yaml")
    config = to_run_config(composed, base=tmp_path)
    assert config.run_dir == f"{tmp_path}/here/run"
    assert config.resume == f"{tmp_path}/old"
    assert (config.planner.prompt, config.executor.prompt) == (f"{tmp_path}/mine.yaml", "plain")
    assert config.data.train == (f"{tmp_path}/p.jsonl", "demo:math")
    assert config.reward.baseline_cache == f"{tmp_path}/runs/baselines"
    assert config.data.solution_cache == f"{tmp_path}/runs/solutions"


def test_keys_of_the_command_itself_are_let_through_by_name_only(base: tuple[str, ...]) -> None:
    composed = compose_config(*base, "+checkpoint=/a")
    assert to_run_config(composed, extra=("checkpoint",)).name == "train"
    with pytest.raises(ConfigError, match=r"^checkpoint: no such key"):
        to_run_config(composed)


def test_the_released_tie_table_is_for_three_samples(run_config: Run) -> None:
    assert run_config().reward.tie_table == {1: 0.5}
    assert run_config("reward.num_samples=4").reward.tie_table == {}
    assert run_config("reward.num_samples=4", "reward.tie_table={2: 0.75}").reward.tie_table == {2: 0.75}


def test_runs_root_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELIFT_RUNS", "/shared/runs")
    assert compose_config().run_dir == "/shared/runs/train"


def test_a_single_run_has_no_variant(run_config: Run) -> None:
    config = run_config("name=abc")
    assert config.name == "abc"
    assert config.run_dir.endswith("/runs/abc")


def test_messages_show_long_values_shortened_and_on_one_line() -> None:
    text = str(ConfigError("a.b", "x\ny" * 200, "must be shorter"))
    assert text.startswith("a.b=x yx y")
    assert text.endswith("...: must be shorter")
    assert len(text) < 160
