"""A run goes on from a checkpoint where its settings are those of the same run, and says what has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.configs import run_config
from tests.unit.config.composed import make_model
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import plain_config
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.rl.continuing import notes_on_resume


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return run_config()


def saved(run: RunConfig, folder: Path) -> tuple[RunConfig, Path]:
    """The run in ``folder``, which holds its configuration, and the path of a checkpoint there."""
    run = replace(run, run_dir=str(folder))
    (folder / "config.yaml").write_text(yaml.safe_dump(plain_config(run)))
    return run, folder / "checkpoints" / "step-000004"


def test_the_same_settings_go_on_without_a_word(base: RunConfig, tmp_path: Path) -> None:
    run, checkpoint = saved(base, tmp_path)
    assert notes_on_resume(replace(run, resume=str(checkpoint), dry_run=True), checkpoint) == ()


def test_what_may_change_is_said_in_one_line(base: RunConfig, tmp_path: Path) -> None:
    run, checkpoint = saved(base, tmp_path)
    planner = replace(run.planner, pool=replace(run.planner.pool, workers=2))
    now = replace(run, total_steps=200, planner=planner, learner=replace(run.learner, lr=1e-4))
    assert notes_on_resume(now, checkpoint) == (
        "going on with changed settings: total_steps=200 (was 40), planner.pool.workers=2 (was 1), "
        "learner.lr=0.0001 (was 0.0003)",
    )


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [("", "seed", 5), ("reward", "arm", "exec_only"), ("algorithm", "group_size", 4), ("data", "limit", 9)],
)
def test_what_makes_another_run_is_refused_with_both_values_and_the_ways_out(
    base: RunConfig, tmp_path: Path, part: str, field: str, value: Any
) -> None:
    run, checkpoint = saved(base, tmp_path)
    before = getattr(getattr(run, part) if part else run, field)
    now = replace(run, **{part: replace(getattr(run, part), **{field: value})} if part else {field: value})
    with pytest.raises(ConfigError) as refused:
        notes_on_resume(now, checkpoint)
    line = str(refused.value)
    assert line.startswith(f"{part and part + '.'}{field}={value}: {checkpoint} was saved with {before},")
    assert "name=OTHER" in line and "resume=never" in line and "\n" not in line


def test_another_model_is_refused_and_the_same_one_elsewhere_is_not(base: RunConfig, tmp_path: Path) -> None:
    old, copy, other = (make_model(tmp_path / name) for name in ("old", "copy", "other"))
    (other / "model.safetensors").write_bytes(len(b"{ }").to_bytes(8, "little") + b"{ }")
    run, checkpoint = saved(replace(base, planner=replace(base.planner, model=str(old))), tmp_path)

    def noted(model: Path) -> tuple[str, ...]:
        return notes_on_resume(replace(run, planner=replace(run.planner, model=str(model))), checkpoint)

    assert noted(copy) == ()
    with pytest.raises(ConfigError, match=r"^planner\.model=.*/other: .*was saved with .*/old,"):
        noted(other)
    (tmp_path / "elsewhere").mkdir()
    moved = old.rename(tmp_path / "elsewhere" / "old")
    assert noted(moved) == (), "a place that is gone, and a model of the same name"
    with pytest.raises(ConfigError, match=r"^planner\.model"):
        noted(copy)


def test_a_part_that_came_or_went_is_named_once(base: RunConfig, tmp_path: Path) -> None:
    run, checkpoint = saved(base, tmp_path)
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    values["reasoning_rm"]["judge"] = {"model": "/models/judge", "prompt": "chat"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"^reasoning_rm\.judge=null: .* saved with \{model: /models/judge, prompt"):
        notes_on_resume(run, checkpoint)


def test_a_configuration_of_an_older_version_is_compared_by_its_present_names(base: RunConfig, tmp_path: Path) -> None:
    run, checkpoint = saved(base, tmp_path)
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    values["algorithm"]["advantage"] = "group"
    del values["algorithm"]["best_of"]
    values["gone"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert notes_on_resume(run, checkpoint) == ()


def test_a_checkpoint_of_another_directory_is_compared_with_the_run_that_saved_it(
    base: RunConfig, tmp_path: Path
) -> None:
    run, checkpoint = saved(base, tmp_path)
    with pytest.raises(ConfigError, match=r"resume=never starts one$"):
        notes_on_resume(replace(run, run_dir=str(tmp_path / "new"), seed=9), checkpoint)
    (tmp_path / "config.yaml").unlink()
    (line,) = notes_on_resume(run, checkpoint)
    assert "config.yaml is not there" in line
