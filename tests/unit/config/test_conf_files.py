"""The YAML files and the dataclasses say the same, and every field is described where its default is."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from launch.conf_files import CONFIG_DIR
from tests.unit.config.composed import compose_config, make_model
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import HELPER_KEYS, to_run_config

PROMPTS = "prompts"  # files of texts, no group of settings
GROUPS = sorted(path.name for path in CONFIG_DIR.iterdir() if path.is_dir() and path.name != PROMPTS)
FILES = sorted(path for path in CONFIG_DIR.rglob("*.yaml") if path.parent.name not in ("experiment", PROMPTS))
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONFIG_DIR / group).glob("*.yaml"))]


def schema_keys(cls: Any, prefix: str = "") -> set[str]:
    hints = typing.get_type_hints(cls)
    keys = set()
    for field in dataclasses.fields(cls):
        inner = hints[field.name]
        nested = dataclasses.is_dataclass(inner)
        keys |= schema_keys(inner, f"{prefix}{field.name}.") if nested else {f"{prefix}{field.name}"}
    return keys


def yaml_keys(values: dict[Any, Any], prefix: str = "") -> set[str]:
    keys = set()
    for name, value in values.items():
        keys |= yaml_keys(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}"}
    return keys


def test_yaml_and_dataclasses_have_the_same_fields() -> None:
    values = OmegaConf.to_container(compose_config(), resolve=False)
    assert isinstance(values, dict)
    assert yaml_keys(values) - HELPER_KEYS == schema_keys(RunConfig)


def uncommented(path: Path) -> list[str]:
    """Keys without a comment line right above them; what shares its line with its parent is described with it."""
    lines = path.read_text().splitlines()
    found = []

    def visit(node: yaml.Node, parent_line: int) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            line = key.start_mark.line
            if line == parent_line or (parent_line < 0 and key.value in ("defaults", "hydra")):
                continue
            if line == 0 or not lines[line - 1].strip().startswith("# "):
                found.append(key.value)
            visit(value, line)

    visit(yaml.compose(path.read_text(), yaml.SafeLoader), -1)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIG_DIR)))
def test_every_field_has_a_comment_line_above_it(path: Path) -> None:
    assert uncommented(path) == []


def test_no_comment_repeats_the_choices_that_the_type_lists() -> None:
    comments = [
        (path.name, line) for path in FILES for line in path.read_text().splitlines() if line.strip()[:1] == "#"
    ]
    assert [each for each in comments if " | " in each[1]] == []


def test_a_field_without_a_comment_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# described\none: 1\ntwo: 2\n# described\nthree:\n  four: 4\n  # described\n  five: {six: 6}\n")
    assert uncommented(file) == ["two", "four"]


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda value: value)
def test_every_choice_of_every_group_makes_a_valid_run(group: str, choice: str, tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text("{}\n")
    models = [f"{pool}.model={make_model(tmp_path / pool)}" for pool in ("planner", "executor", "reasoning_rm")]
    for pool in ("planner", "executor"):
        (tmp_path / pool / "chat_template.jinja").write_text("{{ messages }}")
    server = ["executor.remote.base_url=http://127.0.0.1:1/v1", "executor.remote.model=m"]
    scorer = {
        "remote": ["reasoning_rm.remote.url=http://127.0.0.1:1/score"],
        "judge": [f"reasoning_rm.judge.model={tmp_path}/planner"],
    }
    scorer["gpu_4x8_70b"] = scorer["judge"]
    own = scorer.get(choice, []) if group in ("reasoning_rm", "experiment") else []
    data = [f"data.train=[{problems}]", "data.heldout=[]"]
    overrides = [f"{group}={choice}", *models, *server, *own, *data, "cluster.num_gpus=8"]
    config = to_run_config(compose_config(*overrides))
    assert config.planner.model == str(tmp_path / "planner")


def test_quickstart_is_ready_without_an_override() -> None:
    config = to_run_config(compose_config("experiment=quickstart"))
    assert config.data.train == config.data.heldout == ("demo:math", "demo:code")
    assert (config.algorithm.groups_per_step, config.algorithm.group_size) == (24, 8)
    assert config.stream.max_staleness == 0


def test_the_papers_presets_keep_the_released_clip_and_ours_leaves_the_rubric_room() -> None:
    clips = {
        name: compose_config(f"reward={name}").reward.clip_max for name in ("tracelift", "paper_math", "paper_code")
    }
    assert clips == {"tracelift": None, "paper_math": 1.0, "paper_code": 1.0}
