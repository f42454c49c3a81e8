"""The marks that the demo's reasoning RM learns from lie at the words that settle them."""

from random import Random

import pytest

from tracelift_ray.demo.faults import CARRIED, TOLD, WORKED, fault_marks
from tracelift_ray.demo.flaws import KINDS, perturb
from tracelift_ray.demo.rubric import rubric_labels
from tracelift_ray.demo.traces import clean_lines, render
from tracelift_ray.demo.world import draw_problem, read_statement

MATH = read_statement("math", "tom has 7 pens . then buys 5 more . then gives ann 3 back . how many pens now ?")
CODE = read_statement("code", "read n , try 6 . then add 7 . then subtract it from 30 . print it .")


def faults(problem, reasoning):
    """The words at which a fault shows, with the aspect."""
    words = reasoning.split()
    return [(words[mark.word], mark.aspect) for mark in fault_marks(problem, reasoning) if mark.faulty]


@pytest.mark.parametrize(
    ("problem", "reasoning", "shown"),
    [
        (MATH, "7 + 5 = 12 ; 12 - 3", []),
        (MATH, "7 + 5 = 13 ; 12 - 3", [("13", WORKED), ("12", CARRIED)]),
        (MATH, "7 + 5 = 13 ; 13 - 3", [("13", WORKED)]),
        (MATH, "8 + 5 = 13 ; 13 - 3", [("8", CARRIED)]),
        (MATH, "7 + 5 = 12 ; 12 + 3", [("3", TOLD)]),
        (MATH, "7 + 4 = 11 ; 11 - 3", [("4", TOLD)]),
        (MATH, "7 + 0 = 7 ; 7 + 5 = 12 ; 12 - 3", [("0", TOLD)]),
        (MATH, "7 - 3 = 4 ; 4 + 5", [("5", TOLD)]),
        (CODE, "n + 7 : 6 -> 13 ; 30 - n : 13 -> 17", []),
        (CODE, "n + 7 : 6 -> 14 ; 30 - n : 14 -> 16", [("14", WORKED)]),
        (CODE, "n + 7 : 6 -> 13 ; n - 30 : 13 -> 17", [("30", TOLD), ("17", WORKED)]),
        (CODE, "n + 7 : 5 -> 12 ; 30 - n : 13 -> 17", [("5", CARRIED), ("13", CARRIED)]),
    ],
)
def test_a_fault_is_marked_at_the_word_that_shows_it(problem, reasoning, shown):
    assert faults(problem, reasoning) == shown


def test_every_line_is_marked_once_for_each_aspect_that_it_settles():
    text = "7 + 5 = 12 ; 12 - 3"
    marks, words = fault_marks(MATH, text), text.split()
    assert [(words[mark.word], mark.aspect) for mark in marks] == [
        ("5", TOLD),
        ("7", CARRIED),
        ("12", WORKED),
        ("3", TOLD),
        ("12", CARRIED),
    ]


def test_a_text_that_is_not_of_the_world_has_no_marks():
    assert fault_marks(MATH, "seven and five") == ()


def test_marks_and_rubric_count_the_same_faults():
    rng = Random(3)
    for task in ("math", "code") * 200:
        problem = draw_problem(rng, task, "train")
        lines = perturb(problem, rng.choice(KINDS), rng) or clean_lines(problem)
        text = render(task, lines)
        labels = rubric_labels(problem, text)
        found = [aspect for _, aspect in faults(problem, text)]
        for aspect, dimension in ((TOLD, 0), (CARRIED, 2), (WORKED, 3)):
            count = found.count(aspect)
            assert labels[dimension] == (4 if count == 0 else int(count == 1)), text


def test_a_mark_follows_from_the_words_up_to_it():
    rng = Random(4)
    for task in ("math", "code") * 100:
        problem = draw_problem(rng, task, "train", 4)
        lines = perturb(problem, rng.choice(KINDS), rng) or clean_lines(problem)
        whole = fault_marks(problem, render(task, lines))
        shorter = fault_marks(problem, render(task, lines[:-1]))
        assert shorter == whole[: len(shorter)]
