"""The study of chain sums: worked steps, what counts as a valid trace, and the table of its planners."""

from __future__ import annotations

import pytest

from benchmarks.arithmetic import Planner, completed, steps, table, validity
from benchmarks.pages import with_part

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


def test_a_part_of_a_page_is_replaced_and_nothing_else() -> None:
    page = "before\n<!-- begin: runs -->\n\nold\n\n<!-- end: runs -->\nafter\n"
    assert with_part(page, "runs", "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no part other"):
        with_part(page, "other", "new")
