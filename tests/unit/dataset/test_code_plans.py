"""Programs are narrated by statement templates: in order, unambiguously, and without program text."""

import random

import pytest

from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE, code_problem
from tracelift_ray.dataset.code_rules.narration import MAX_LINES, narrate, render
from tracelift_ray.dataset.code_rules.plans import CodePlans
from tracelift_ray.dataset.code_rules.program import read_program
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem


def steps(problem: Problem) -> list[str]:
    """The steps of a plan, what is set in marked by its depth."""
    lines = narrate(read_program(problem), problem.statement)
    return [">" * line.depth + line.text for line in lines]


def spoken(expression: str) -> str:
    """How a function that returns an expression of ``a`` and ``b`` says it."""
    said = steps(code_problem(f"import re, math\ndef f(a, b):\n    return {expression}\n", "assert f(1, 2)"))[-1]
    return said.removeprefix("return ")


def test_a_plan_says_goal_input_special_case_loop_and_result_in_this_order() -> None:
    assert render(narrate(read_program(COUNT_EVEN), COUNT_EVEN.statement)) == (
        "- The goal is to count the positive even numbers of a list, or give -1 for an empty one.\n"
        "- The function takes numbers.\n"
        "- If the length of numbers equals 0, return -1.\n"
        "- Set res to 0.\n"
        "- For each position i of numbers:\n"
        "  - If (item i of numbers) mod 2 equals 0 and item i of numbers is greater than 0, set res to res + 1.\n"
        "- Return res."
    )


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a * (a + 1) // 2", "the whole part of (a \u00d7 (a + 1)) \u00f7 2"),
        ("a - b - 1", "a - b - 1"),
        ("math.pi * a ** 2 * b", "pi \u00d7 (a to the power of 2) \u00d7 b"),
        ("a * b % 3", "(a \u00d7 b) mod 3"),
        ("[[0 for x in a] for y in b]", "the list of (the list of 0 for each x in a) for each y in b"),
        ("a - (b - 1)", "a - (b - 1)"),
        ("len(a) - 1", "(the length of a) - 1"),
        ("len(a + b)", "the length of (a + b)"),
        ("str(a + b)", "(a + b) as text"),
        ("math.sqrt(a ** 2)", "the square root of (a to the power of 2)"),
        ("a[::-1]", "a in reverse order"),
        ("a[1:b]", "the part of a from position 1 up to but not including b"),
        ("a[a[b]]", "item (item b of a) of a"),
        ("a[0] + a[-1]", "(the first item of a) + (the last item of a)"),
        ("[x * x for x in a if x > b]", "the list of x \u00d7 x for each x in a where x is greater than b"),
        ("any(x in b for x in a)", "whether x is in b for some x in a"),
        ("max(a, key=lambda x: x[1])", "the largest of a, comparing the second item of x for each x"),
        ("sorted(a, reverse=True)", "a sorted in descending order"),
        ("list(map(lambda x: x + b, a))", "the list of x + b for each x in a"),
        ("{'x': a}[b]", 'item b of the dictionary from "x" to a'),
        ("a and not b", "whether a is neither empty, zero nor false and b is empty, zero or false"),
        ("(a < 1 or b > 1) and a < b", "whether (a is less than 1 or b is greater than 1) and a is less than b"),
        ("a if a > b else b", "a if a is greater than b, and b otherwise"),
        ("bool(re.search('x$', a))", 'whether a match of the pattern "x$" somewhere in a'),
        ("helper(a)", "the result of helper for a"),
    ],
)  # fmt: skip
def test_expressions_are_said_so_that_they_can_be_read_in_one_way_only(expression: str, words: str) -> None:
    assert spoken(expression) == words


@pytest.mark.parametrize(
    ("body", "step"),
    [
        ("a.append(1)", "append 1 to a"),
        ("a, t = t, a", "at the same time set a to t and t to a"),
        ("t *= a[0]", "multiply t by the first item of a"),
        ("t //= 2", "set t to the whole part of t \u00f7 2"),
        ("while t > a: t -= 1", "as long as t is greater than a, subtract 1 from t"),
        ("for x in a:\n        if x == 2:\n            continue", ">if x equals 2, go on with the next one"),
        ("for i in range(1, a, 2):\n        t += i",
         "for each i from 1 up to but not including a in steps of 2, add i to t"),
        ("a.sort(reverse=True)", "sort a in descending order"),
        ("if re.match('x', t):\n        t = 1", 'if there is a match of the pattern "x" at the start of t, set t to 1'),
    ],
)  # fmt: skip
def test_statements_are_said_as_imperatives(body: str, step: str) -> None:
    program = f"def f(a):\n    t = 0\n    {body}\n    return t\n"
    assert step in steps(code_problem(program, "assert f(1) == 1"))


def test_it_is_clear_which_condition_an_otherwise_belongs_to() -> None:
    program = "def f(a):\n    if a > 1:\n        if a < 9:\n            a = 0\n    else:\n        a = 5\n    return a\n"
    assert steps(code_problem(program, "assert f(3) == 0"))[2:5] == [
        "if a is greater than 1:",
        ">if a is less than 9, set a to 0",
        "otherwise, set a to 5",
    ]


def test_helpers_and_constants_that_the_tests_reach_are_told_and_others_are_not() -> None:
    program = (
        "import math\nSTEP = 2\nOTHER = 3\ndef twice(x):\n    '''Doubles.'''\n    return STEP * x\n"
        "def unused(x):\n    return OTHER\ndef f(a):\n    return twice(a)\n"
    )
    assert steps(code_problem(program, "assert f(1) == 2", statement="Double it.")) == [
        "set STEP to 2",
        "the helper twice takes x:",
        ">return STEP \u00d7 x",
        "the function f takes a",
        "return the result of twice for a",
    ]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("class A:\n    pass\ndef f(a):\n    return a", "defines a class"),
        ("def f(a):\n    yield a", "is a generator"),
        ("def f(a):\n    for x in a:\n        pass\n    else:\n        return 1", "else branch"),
        ("def f(a):\n    return (", "does not parse"),
        ("def f(a):\n    for x in a:\n        pass\n    return a", "does nothing"),
        ("def g(a):\n    return a", "do not call one function"),
        ("def f(a):\n    return a[0](1)", "computed function"),
        ("def f(a):\n" + "    a += 1\n" * (MAX_LINES + 1) + "    return a", "the plan would be long"),
        (f"def f(a):\n    return {' + '.join('abcdefgh' * 5)}", "very long sentence"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_reason(program: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        steps(code_problem(program, "assert f([1]) == [1]"))


def test_no_plan_shows_program_text() -> None:
    for problem in (COUNT_EVEN, UNIQUE):
        plan = render(narrate(read_program(problem), problem.statement))
        assert not any(text in plan for text in ("==", "[", "(n", "def ", "range(", "sorted("))
        assert not task_of("code").leaks(problem, plan)


def test_a_reference_program_that_fails_its_tests_is_no_reference(trials: Trials) -> None:
    wrong = code_problem("def f(a):\n    return a + 1\n", "assert f(1) == 3")
    slow = code_problem("def f(a):\n    while True:\n        a += 1\n    return a\n", "assert f(1) == 2")
    for problem in (wrong, slow):
        with pytest.raises(Refused, match="does not pass its own tests"):
            CodePlans(trials).traces(problem, random.Random(0))
