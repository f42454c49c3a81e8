import difflib
import random

import pytest

from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE, code_problem
from tracelift_ray.dataset.code_rules.flaws import CodePerturber
from tracelift_ray.dataset.code_rules.mutations import mutations
from tracelift_ray.dataset.code_rules.program import read_program
from tracelift_ray.dataset.code_rules.rubrics import KINDS, CodeRubrics
from tracelift_ray.dataset.code_rules.traces import CodeTraces
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Flawed
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

FOREIGN = (
    "Sort the words in ascending order. If the list is empty, return an empty list. "
    "Walk over them and keep the largest one that is at least three letters long. Return it."
)


def flawed(trials: Trials, problem: Problem, count: int, seed: int = 0) -> tuple[str, list[Flawed]]:
    """A good plan and flawed copies of it."""
    (trace,) = CodeTraces(trials).traces(problem, random.Random(seed))
    return trace, CodePerturber(trials).negatives(problem, trace, random.Random(seed), count)


def changed_lines(good: str, bad: str) -> int:
    differ = difflib.SequenceMatcher(a=good.split("\n"), b=bad.split("\n"), autojunk=False)
    return sum(max(b - a, d - c) for tag, a, b, c, d in differ.get_opcodes() if tag != "equal")


def test_flaws_are_local_different_and_of_every_kind_that_the_program_offers(trials: Trials) -> None:
    trace, found = flawed(trials, COUNT_EVEN, 12)
    assert len({flaw.reasoning for flaw in found} | {trace}) == 13
    assert {flaw.kind for flaw in found} == set(KINDS) - {"wrong_data_structure"}
    assert all(1 <= changed_lines(trace, flaw.reasoning) <= 2 and 0 <= flaw.place <= 1 for flaw in found)
    _, other = flawed(trials, UNIQUE, 8)
    assert "wrong_data_structure" in {flaw.kind for flaw in other}


def test_kinds_are_taken_in_turn(trials: Trials) -> None:
    _, found = flawed(trials, COUNT_EVEN, 5)
    assert len({flaw.kind for flaw in found}) == 5


def test_the_same_draw_gives_the_same_flaws(trials: Trials) -> None:
    assert flawed(trials, COUNT_EVEN, 6, seed=3) == flawed(trials, COUNT_EVEN, 6, seed=3)
    assert flawed(trials, COUNT_EVEN, 6, seed=3) != flawed(trials, COUNT_EVEN, 6, seed=4)


def test_only_leaks_show_program_text(trials: Trials) -> None:
    for seed in range(4):
        _, found = flawed(trials, COUNT_EVEN, 10, seed)
        shown = [flaw for flaw in found if "numbers[" in flaw.reasoning or "res" in flaw.reasoning.split()]
        assert {flaw.kind for flaw in shown} <= {"leaked_implementation"}
        assert not any(
            task_of(COUNT_EVEN.task).leaks(COUNT_EVEN, flaw.reasoning) for flaw in found if "leak" not in flaw.kind
        )
        assert all("`" in flaw.reasoning or "=" in flaw.reasoning or "return" in flaw.reasoning for flaw in shown)


def test_a_leaked_line_has_the_names_of_the_program(trials: Trials) -> None:
    overwritten = code_problem(
        "def f(text):\n    text = text.split()\n    text[0] = text[0].upper()\n    return ' '.join(text)\n",
        "assert f('a b') == 'A b'",
    )
    _, found = flawed(trials, overwritten, 40)
    leaked = [flaw.reasoning for flaw in found if flaw.kind == "leaked_implementation"]
    assert any("text[0] = text[0].upper()" in text for text in leaked)
    assert not any("__" in text for text in leaked)


def test_a_change_that_breaks_no_test_is_no_flaw(trials: Trials) -> None:
    # That the loop starts one later, or that "greater" becomes "at least", changes nothing for the only test.
    harmless = code_problem(
        "def f(a):\n    n = 0\n    for i in range(len(a)):\n        if a[i] > 5:\n            n += 1\n    return n\n",
        "assert f([0, 9]) == 1",
    )
    _, found = flawed(trials, harmless, 40)
    said = [flaw.reasoning for flaw in found if flaw.kind == "off_by_one"]
    assert said
    assert not any("at least 5" in text or "i from 1 to" in text for text in said)


def test_changes_leave_the_program_itself_alone() -> None:
    assert COUNT_EVEN.solution is not None and COUNT_EVEN.tests is not None
    program = read_program(COUNT_EVEN.solution, COUNT_EVEN.tests)
    before = program.source
    found = list(mutations(program.main))
    assert len(found) > 10 and program.source == before
    assert {mutation.kind for mutation in found} == {"wrong_algorithm", "off_by_one", "missed_edge_case"}


def test_a_trace_that_nobody_narrated_is_changed_as_a_text(trials: Trials) -> None:
    found = CodePerturber(trials).negatives(UNIQUE, FOREIGN, random.Random(0), 20)
    by_kind = {kind: [flaw.reasoning for flaw in found if flaw.kind == kind] for kind in KINDS}
    assert FOREIGN.replace("ascending", "descending") in by_kind["wrong_algorithm"]
    assert FOREIGN.replace("at least", "more than") in by_kind["off_by_one"]
    assert FOREIGN.replace("If the list is empty, return an empty list. ", "") in by_kind["missed_edge_case"]
    assert any("return sorted(set(words))" in text for text in by_kind["leaked_implementation"])


def test_rubrics_follow_from_kind_and_place() -> None:
    judge = CodeRubrics()
    best = judge.rubric(None, 0.0)
    assert best.labels == (4,) * 5 and best.total == 1.0
    for kind in KINDS:
        for place in (0.0, 0.9):
            rubric = judge.rubric(kind, place)
            assert rubric.total < 0.8 and min(rubric.labels) < 3 and all(0 <= label <= 4 for label in rubric.labels)
        assert judge.rubric(kind, 0.0).total <= judge.rubric(kind, 0.9).total
    assert judge.rubric("leaked_implementation", 0.5).labels[4] == 0
    assert judge.rubric("wrong_algorithm", 0.9).labels[1] <= 1
    with pytest.raises(KeyError):
        judge.rubric("no_such_kind", 0.5)


@pytest.mark.parametrize(
    ("program", "test", "kind", "changed"),
    [
        ("def f(a, b):\n    return a * b\n", "assert f(2, 3) == 6", "wrong_algorithm", "a²"),
        ("def f(a):\n    return 4 * a\n", "assert f(2) == 8", "wrong_algorithm", "5 \u00d7 a"),
        ("def f(a):\n    return sum(a)\n", "assert f([1, 2]) == 3", "off_by_one", "without its first element"),
        ("def f(a):\n    return [x for x in a]\n", "assert f('ab') == ['a', 'b']", "off_by_one", "without its first"),
        (
            "import re\ndef f(a):\n    return re.sub('[0-9]+', '', a)\n",
            "assert f('b1') == 'b'",
            "wrong_algorithm",
            "replaced by a space",
        ),
        (
            "def f(a):\n    return [x * 2 for x in a]\n",
            "assert f([1, -1]) == [2, -2]",
            "missed_edge_case",
            "for which that number is greater than 0",
        ),
        (
            "def f(a):\n    t = 0\n    for x in a:\n        t += ord(x)\n    return t\n",
            "assert f('a1') == 146",
            "missed_edge_case",
            "if the current character is a letter, add",
        ),
        (
            "import re\ndef f(a):\n    if re.search('^x', a):\n        return 'yes'\n    return 'no'\n",
            "assert (f('xa'), f('ax')) == ('yes', 'no')",
            "missed_edge_case",
            'contains "x"',
        ),
    ],
)
def test_short_programs_offer_flaws_too(trials: Trials, program: str, test: str, kind: str, changed: str) -> None:
    _, found = flawed(trials, code_problem(program, test), 30)
    assert any(flaw.kind == kind and changed in flaw.reasoning for flaw in found)
