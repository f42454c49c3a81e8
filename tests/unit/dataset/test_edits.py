"""An edit by a model counts only if it is the good trace with a local change."""

from __future__ import annotations

import pytest

from tests.unit.dataset.cases import LINES, PROBLEM
from tracelift_ray.dataset.code_rules.plans import CODE_LABELS
from tracelift_ray.dataset.llm.edits import FLAWS, edit_fault, edit_place, edit_prompt, read_edit
from tracelift_ray.dataset.math_rules.perturber import MATH_LABELS

TRACE = "\n".join(LINES)


def test_the_model_is_asked_for_the_kinds_that_the_rules_know() -> None:
    assert {task: set(kinds) for task, kinds in FLAWS.items()} == {"math": set(MATH_LABELS), "code": set(CODE_LABELS)}
    for kind, told in FLAWS["math"].items():
        text = edit_prompt(PROBLEM, TRACE, kind)
        assert told in text and TRACE in text and PROBLEM.statement in text


@pytest.mark.parametrize(
    ("reply", "edit"),
    [
        ("<reasoning>\nA step.\n</reasoning>", "A step."),
        ("Here you are: <reasoning>A step.</reasoning>", "A step."),
        ("A step.", None),
        ("<reasoning>A step.", None),
        ("<reasoning> </reasoning>", None),
        ("<reasoning>A.</reasoning><reasoning>B.</reasoning>", None),
    ],
)
def test_a_reply_is_read_where_it_is_tagged_once(reply: str, edit: str | None) -> None:
    assert read_edit(reply) == edit


@pytest.mark.parametrize(
    ("edited", "fault"),
    [
        (TRACE.replace("180-30 = 150", "180+30 = 210").replace("150*4", "210*4"), None),
        (TRACE.replace(LINES[1] + "\n", ""), None),
        (f"{TRACE}\nThe answer is 600.", None),
        (TRACE.replace("\n", "  \n"), "an edit that changes nothing"),
        (f"{TRACE} And so on." * 4, "an edit that changes the length too much"),
        (LINES[0], "an edit that changes the length too much"),
        ("We divide 12 by 3, which is 4.\nThen 9 more come.\nSo it is ? at last, I think so.", "changes too much"),
        (TRACE.replace("After the sale", "By mistake"), "an edit that speaks of its flaw"),
        (TRACE.replace("150*4", "[number]*4"), "an edit with a placeholder"),
        (f"{TRACE}\nParis is the capital of France.", "an edit that strays from the problem"),
    ],
)
def test_edits_that_are_not_local_or_leave_the_task_are_refused(edited: str, fault: str | None) -> None:
    found = edit_fault(PROBLEM, TRACE, edited, 0.4)
    assert (found is None) if fault is None else (found is not None and fault in found)


def test_the_place_of_an_edit_is_where_it_begins() -> None:
    assert edit_place(TRACE, TRACE.replace("There are", "There were")) < 0.1
    assert 0.3 < edit_place(TRACE, TRACE.replace("180-30", "180+30")) < 0.7
    assert edit_place(TRACE, f"{TRACE} More.") > 0.9
