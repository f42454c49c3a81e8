"""Flaws are made on the program and proven by its tests; the flawed plan differs from the good one where they do."""

import ast
import difflib
import random

import pytest

from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE, code_problem
from tracelift_ray.dataset.code_rules.mutations import changed, mutations
from tracelift_ray.dataset.code_rules.plans import CODE_LABELS, CodePlans
from tracelift_ray.dataset.code_rules.program import read_program
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.rule_stages import rubric_of
from tracelift_ray.dataset.pipeline.stages import Candidate
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem


def flawed(trials: Trials, problem: Problem, count: int, seed: int = 0) -> tuple[str, list[Candidate]]:
    """A good plan and flawed copies of it."""
    plans = CodePlans(trials)
    (trace,) = plans.traces(problem, random.Random(seed))
    return trace, plans.negatives(problem, trace, random.Random(seed), count)


def changed_lines(good: str, bad: str) -> int:
    differ = difflib.SequenceMatcher(a=good.split("\n"), b=bad.split("\n"), autojunk=False)
    return sum(max(b - a, d - c) for tag, a, b, c, d in differ.get_opcodes() if tag != "equal")


def test_flaws_are_local_different_and_of_every_kind_that_the_program_offers(trials: Trials) -> None:
    trace, found = flawed(trials, COUNT_EVEN, 12)
    assert len({flaw.reasoning for flaw in found} | {trace}) == 13
    assert {flaw.kind for flaw in found} == set(CODE_LABELS) - {"wrong_data_structure"}
    assert all(1 <= changed_lines(trace, flaw.reasoning) <= 4 and 0 <= flaw.place <= 1 for flaw in found)
    _, other = flawed(trials, UNIQUE, 8)
    assert "wrong_data_structure" in {flaw.kind for flaw in other}


def test_kinds_are_taken_in_turn_and_the_same_draw_gives_the_same_flaws(trials: Trials) -> None:
    _, found = flawed(trials, COUNT_EVEN, 5)
    assert len({flaw.kind for flaw in found}) == 5
    assert flawed(trials, COUNT_EVEN, 6, seed=3) == flawed(trials, COUNT_EVEN, 6, seed=3)
    assert flawed(trials, COUNT_EVEN, 6, seed=3) != flawed(trials, COUNT_EVEN, 6, seed=4)


def test_only_leaks_show_program_text(trials: Trials) -> None:
    for seed in range(3):
        _, found = flawed(trials, COUNT_EVEN, 10, seed)
        shown = {
            flaw.kind for flaw in found if any(text in flaw.reasoning for text in ("numbers[", " = ", "range(", "=="))
        }
        assert shown <= {"leaked_implementation"}
        assert not any(task_of("code").leaks(COUNT_EVEN, flaw.reasoning) for flaw in found if "leak" not in flaw.kind)


def test_a_leak_of_one_branch_does_not_give_away_the_others(trials: Trials) -> None:
    branching = code_problem(
        "def f(a):\n    if a > 2:\n        return 1\n    else:\n        return 7\n", "assert f(3) == 1"
    )
    _, found = flawed(trials, branching, 40)
    leaks = [flaw.reasoning for flaw in found if flaw.kind == "leaked_implementation"]
    assert any("if a > 2: return 1" in leak for leak in leaks) and not any("else" in leak for leak in leaks)


def test_a_change_that_breaks_no_test_is_no_flaw(trials: Trials) -> None:
    # That the loop starts one later, or that "greater" becomes "at least", changes nothing for the only test.
    harmless = code_problem(
        "def f(a):\n    n = 0\n    for i in range(len(a)):\n        if a[i] > 5:\n            n += 1\n    return n\n",
        "assert f([0, 9]) == 1",
    )
    _, found = flawed(trials, harmless, 40)
    said = [flaw.reasoning for flaw in found if flaw.kind == "off_by_one"]
    assert said
    assert not any("at least 5" in text or "i from 1 " in text for text in said)


def test_needless_work_is_work_that_changes_no_result(trials: Trials) -> None:
    summed = code_problem(
        "def f(a):\n    t = 0\n    for x in a:\n        t += x\n    return t * 2\n", "assert f([1, 2]) == 6"
    )
    _, found = flawed(trials, summed, 40)
    slow = [flaw.reasoning for flaw in found if flaw.kind == "wrong_complexity"]
    assert len(slow) == 2
    assert any(
        "- Once for each item of a:\n  - Set t to 0.\n  - For each x in a, add x to t.\n" in text for text in slow
    )
    assert any("- Once for each item of a, set result to t \u00d7 2.\n- Return result." in text for text in slow)


def test_changes_leave_the_program_itself_alone() -> None:
    program = read_program(COUNT_EVEN)
    before = program.source
    found = [(kind, ast.unparse(changed(program.module, change))) for kind, change in mutations(program.module)]
    assert len({text for _, text in found} - {before}) > 20 and program.source == before
    assert {kind for kind, _ in found} == {"wrong_algorithm", "off_by_one", "missed_edge_case", "wrong_complexity"}


def test_a_trace_that_was_not_narrated_gets_no_flaws(trials: Trials) -> None:
    assert CodePlans(trials).negatives(UNIQUE, "- Sort the distinct words.", random.Random(0), 20) == []


def test_rubrics_follow_from_kind_and_place() -> None:
    best = rubric_of(CODE_LABELS, None, 0.0)
    assert best.labels == (4,) * 5 and best.total == 1.0
    for kind in CODE_LABELS:
        early, late = rubric_of(CODE_LABELS, kind, 0.0), rubric_of(CODE_LABELS, kind, 0.9)
        assert early.total <= late.total < 0.8 and min(late.labels) < 3
        assert all(0 <= label <= 4 for label in (*early.labels, *late.labels))
    assert rubric_of(CODE_LABELS, "leaked_implementation", 0.5).labels[4] == 0
    assert rubric_of(CODE_LABELS, "wrong_algorithm", 0.9).labels[1] <= 1
    with pytest.raises(KeyError):
        rubric_of(CODE_LABELS, "no_such_kind", 0.5)


@pytest.mark.parametrize(
    ("program", "test", "kind", "line"),
    [
        ("def f(a, b):\n    return a * b\n", "assert f(2, 3) == 6", "wrong_algorithm", "Return a \u00d7 a."),
        ("def f(a, b):\n    return a - b\n", "assert f(3, 2) == 1", "wrong_algorithm", "Return b - a."),
        ("def f(a):\n    return 4 * a\n", "assert f(2) == 8", "wrong_algorithm", "Return 5 \u00d7 a."),
        ("def f(a):\n    return max(a)\n", "assert f([1, 2]) == 2", "wrong_algorithm", "Return the smallest of a."),
        ("def f(a):\n    return a[1:]\n", "assert f('xyz') == 'yz'", "wrong_algorithm",
         "Return the first 1 items of a."),
        ("def f(a):\n    return a.replace('x', 'y')\n", "assert f('ax') == 'ay'", "wrong_algorithm",
         'Return a with "x" replaced by an empty text.'),
        ("def f(a):\n    return sum(a)\n", "assert f([1, 2]) == 3", "off_by_one",
         "Return the sum of the part of a from position 1 on."),
        ("def f(a):\n    return [x for x in range(a)]\n", "assert f(2) == [0, 1]", "off_by_one",
         "Return the list of x for each x in the numbers from 0 up to but not including a + 1."),
        ("def f(a):\n    return a < 3\n", "assert not f(3)", "off_by_one", "Return whether a is at most 3."),
        ("def f(a):\n    return a[0]\n", "assert f([1, 2]) == 1", "off_by_one", "Return the second item of a."),
        ("def f(a):\n    return [x * 2 for x in a]\n", "assert f([1, -1]) == [2, -2]", "missed_edge_case",
         "Return the list of x \u00d7 2 for each x in a where x is greater than 0."),
        ("def f(a):\n    t = 0\n    for x in a:\n        t += ord(x)\n    return t\n", "assert f('a1') == 146",
         "missed_edge_case", "If x is made of letters, add the character code of x to t."),
        ("import re\ndef f(a):\n    return bool(re.search('^x', a))\n", "assert not f('ax')", "missed_edge_case",
         'Return whether a match of the pattern "x" somewhere in a.'),
        ("def f(a):\n    if a < 0:\n        return 0\n    return a\n", "assert f(-1) == 0", "missed_edge_case",
         "- The function takes a.\n- Return a."),
        ("def f(a):\n    return abs(a)\n", "assert f(-1) == 1", "missed_edge_case", "Return a."),
        ("def f(a):\n    r = []\n    for x in a:\n        r.append(x)\n    return len(r)\n", "assert f('aa') == 2",
         "wrong_data_structure", "Set r to an empty set."),
        ("def f(a):\n    return sorted(a)\n", "assert f([2, 1]) == [1, 2]", "wrong_data_structure",
         "Return the distinct items of a."),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_is_made(trials: Trials, program: str, test: str, kind: str, line: str) -> None:
    _, found = flawed(trials, code_problem(program, test), 40)
    assert any(flaw.kind == kind and line in flaw.reasoning for flaw in found)
