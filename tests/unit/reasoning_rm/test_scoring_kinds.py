"""Scorers declare what they need, and the rest asks that."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import tracelift_ray
from tests.unit.reasoning_rm.test_scoring_local import config
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.reasoning_rm.scoring.kinds import SCORERS, build_scorer, check_reasoning_rm, scorer_kind

ROOT = Path(tracelift_ray.__file__).parents[1]


def test_an_unknown_kind_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="unknown scorer 'oracle': use one of model, remote, judge"):
        build_scorer(replace(config("m"), backend="oracle"))


@pytest.mark.parametrize("backend", [name for name, kind in SCORERS.items() if kind.part])
def test_a_kind_without_its_part_of_the_settings_is_refused(backend):
    lacking = replace(config("m"), backend=backend, remote=None, judge=None)
    with pytest.raises(ConfigError, match=rf"^judge\.{backend}=null: is needed where judge\.backend={backend}"):
        check_reasoning_rm(lacking, "judge")
    with pytest.raises(ValueError, match="needs"):
        build_scorer(lacking)


def test_a_model_is_a_directory_that_can_be_served():
    kind, settings = scorer_kind(config("models/rm")), config("models/rm")
    directory = kind.directory(settings)
    assert (directory.key, directory.path, directory.engine) == ("model", "models/rm", None)
    assert kind.servable and kind.name(settings) == "models/rm" and kind.startup_s(settings) == 0
    assert not SCORERS["remote"].servable


def test_kinds_are_named_in_the_table_alone():
    compared = re.compile(r"\bbackend\s*(==|!=|in)\s*[\"'(]")
    files = [path for name in ("tracelift_ray", "actors", "launch") for path in (ROOT / name).rglob("*.py")]
    assert len(files) > 50
    assert [str(path) for path in files if compared.search(path.read_text("utf-8"))] == []
