"""The study of chain sums: worked steps, what counts as a valid trace, and the table of its planners."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import arithmetic
from benchmarks.arithmetic import Planner, completed, steps, table, validity
from benchmarks.pages import with_part
from launch.composition import composed
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.dataset.settings import BuildGroupsConfig
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.training.supervised_settings import WarmStartConfig

ASKED = "State the final answer to the following arithmetic problem: 4 - 1 - 17 + 3 ="


def test_the_worked_steps_lead_from_left_to_right_to_the_answer() -> None:
    assert steps("4 - 1 - 17 + 3") == ["4 - 1 = 3", "3 - 17 = -14", "-14 + 3 = -11"]


@pytest.mark.parametrize(
    ("trace", "valid", "share"),
    [
        ("4 - 1 = 3\n3 - 17 = -14\n-14 + 3 = -11", True, 1.0),
        ("First 4 - 1 = 3, then 3 - 17 = -14. So -14 + 3 = -11.", True, 1.0),
        ("4 - 1 = 3\n3 - 17 = -13\n-13 + 3 = -10", False, 2 / 3),  # one wrong result, the next follows from it
        ("4 - 1 = 3\n3 - 17 = -14", False, 1.0),  # not to the end
        ("no calculation", False, 0.0),
        (None, False, 0.0),  # malformed
    ],
)
def test_a_trace_is_valid_only_with_exactly_the_right_steps(trace: str | None, valid: bool, share: float) -> None:
    assert validity(ASKED, trace) == (valid, pytest.approx(share))


def test_traces_of_groups_are_completed_with_what_follows_from_them() -> None:
    assert completed(r'"63 - 10 = 54\n54 - 46 = ?", "-3 + 5 = ?"') == r'"63 - 10 = 54\n54 - 46 = 8", "-3 + 5 = 2"'


def test_every_command_of_the_study_is_one_that_its_program_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[str, ...]] = {}

    def noted(module: str, *arguments: str, done: Path) -> None:
        asked[module] = arguments

    monkeypatch.setattr(arithmetic, "MADE", tmp_path)
    monkeypatch.setattr(arithmetic, "command", noted)
    (tmp_path / "groups").mkdir()
    for name in ("train", "heldout"):
        (tmp_path / f"{name}.jsonl").touch()
    for name in ("train", "heldout"):
        (tmp_path / "groups" / f"{name}.jsonl").write_text("")
    arithmetic.make_models()
    arithmetic.train("tracelift", 0, 12, ())
    read = {
        "launch.warm_start": lambda given: to_dataclass(WarmStartConfig, composed("warm_start", given)),
        "launch.build_groups": lambda given: to_dataclass(BuildGroupsConfig, composed("build_groups", given)),
        "launch.train_rm": lambda given: to_dataclass(TrainRmConfig, composed("train_rm", given)),
        "launch.train": lambda given: to_run_config(composed("config", given), files=False),
    }
    assert asked.keys() == read.keys()
    for module, arguments in asked.items():
        read[module](arguments)


def test_the_table_has_a_row_for_each_planner_with_intervals() -> None:
    record = {
        "statement": ASKED,
        "with_trace": ["passed", "wrong_answer"],
        "without_trace": ["wrong_answer", "wrong_answer"],
        "traces": [{"text": "4 - 1 = 3\n3 - 17 = -14\n-14 + 3 = -11", "rm_score": None}],
    }
    rows = table([Planner("warm start", -1, (record,)), Planner("tracelift", 1, (record,))]).splitlines()
    assert rows[2].startswith("| warm start |  | 0.500 [0.500, 0.500] | 0.000")
    assert rows[3].startswith("| tracelift | 1 |") and "1.000" in rows[3]
    assert rows[2].split(" | ")[5] == "-", "a planner that the RM did not score has no score, not 0"


def test_a_part_of_a_page_is_replaced_and_nothing_else() -> None:
    page = "before\n<!-- begin: runs -->\n\nold\n\n<!-- end: runs -->\nafter\n"
    assert with_part(page, "runs", "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no part other"):
        with_part(page, "other", "new")
