"""The command line has the last word: a group that it chooses replaces what the experiment sets there."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.composition import chosen_groups, composed, config_directory
from launch.conf_files import CONFIG_DIR
from tests.unit.config.composed import make_model
from tracelift_ray.planning.run_config import to_run_config


@pytest.mark.parametrize(
    ("group", "choice"),
    [("evaluation", "off"), ("algorithm", "grpo"), ("learner", "gpu"), ("reasoning_rm", "model"), ("planner", "vllm")],
)
def test_a_chosen_group_is_as_its_file_says_whatever_the_experiment_sets_there(group: str, choice: str) -> None:
    config = composed("config", ["experiment=quickstart", f"{group}={choice}"])
    assert config[group] == composed("config", [f"{group}={choice}"])[group]
    assert config[group] != composed("config", ["experiment=quickstart"])[group]
    assert config.total_steps == 40


def test_what_is_not_chosen_stays_as_the_experiment_sets_it() -> None:
    config = composed("config", ["experiment=quickstart", "evaluation=off", "stream=asynchronous"])
    assert (config.learner.lr, config.algorithm.normalisation, config.stream.max_staleness) == (3e-4, "constant", 2)


def test_a_single_field_beats_the_group_that_is_chosen_beside_it() -> None:
    config = composed("config", ["evaluation.problems=7", "experiment=quickstart", "evaluation=off", "learner.lr=0.5"])
    assert (config.evaluation.problems, config.evaluation.every, config.learner.lr) == (7, 0, 0.5)


def test_an_experiment_that_builds_on_another_gives_way_too() -> None:
    config = composed("config", ["experiment=mbpp_smollm2_cpu", "algorithm=grpo", "data=demo"])
    assert (config.algorithm.groups_per_step, config.total_steps) == (8, 1)
    assert list(config.data.train) == ["demo:math", "demo:code"]


def test_an_experiments_own_choice_of_a_group_gives_way() -> None:
    assert composed("config", ["experiment=paper_math", "reward=exec_only"]).reward.clip_max is None


def test_an_arm_without_rubric_asks_for_no_reasoning_rm(tmp_path: Path) -> None:
    models = [f"{pool}.model={make_model(tmp_path / pool)}" for pool in ("planner", "executor")]
    for pool in ("planner", "executor"):
        (tmp_path / pool / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "train.jsonl").write_text("{}\n")
    arguments = ["experiment=gsm8k_smollm2_cpu", "reward=exec_only", f"data.train=[{tmp_path}/train.jsonl]", *models]
    assert to_run_config(composed("config", arguments)).reward.arm == "exec_only"


def test_only_groups_count_as_chosen_and_conf_itself_is_used_where_none_is() -> None:
    assert chosen_groups(["reward=a,b", "reward.arm=x", "seed=1", "+extra=2", "-m"]) == {"reward"}
    with config_directory(["experiment=quickstart", "seed=1"]) as directory:
        assert directory == CONFIG_DIR
    with config_directory(["experiment=quickstart", "reward=exec_only"]) as directory:
        assert directory != CONFIG_DIR
    assert not directory.exists()
