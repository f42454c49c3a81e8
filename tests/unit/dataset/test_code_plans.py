import random
import re

import pytest
from tracelift_ray.groups.code_patterns import match_words, pattern_words
from tracelift_ray.groups.code_words import Style

from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE, code_problem
from tracelift_ray.dataset.code_rules.narration import STYLES, layout_of, narrate, render, vocabulary
from tracelift_ray.dataset.code_rules.program import read_program
from tracelift_ray.dataset.code_rules.traces import CodeTraces, plan_of
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem


def steps(problem: Problem, style: int = 0) -> list[str]:
    """The steps of a plan, what is set in marked by its depth."""
    assert problem.solution is not None and problem.tests is not None
    program = read_program(problem.solution, problem.tests)
    lines = narrate(program, problem.statement, vocabulary(program), Style(style))
    return [">" * line.depth + line.text for line in lines]


def spoken(expression: str, *asserts: str) -> str:
    """How a function that returns an expression of ``a`` and ``b`` says it."""
    said = steps(code_problem(f"import re, math\ndef f(a, b=1):\n    return {expression}\n", *asserts))[-1]
    return re.sub("^(return|give back) ", "", said)


def test_a_plan_says_input_special_case_loop_and_result_in_this_order() -> None:
    goal, given, empty, start, loop, inside, result = steps(COUNT_EVEN)
    assert goal.endswith("to count the positive even numbers of a list, or give -1 for an empty one")
    assert given == "The input is a list of numbers"
    assert re.fullmatch("if the list is empty, (return|give back) -1", empty)
    assert re.fullmatch("(start|set|let) the count (at|to|be) 0", start)
    assert loop in ("for every position i of the list:", "for each position i of the list:")
    assert re.fullmatch(
        r">if the element of the list at position i is even and the element of the list at position i is greater "
        r"than 0, (increase the count by 1|add 1 to the count)",
        inside,
    )
    assert re.fullmatch("(return|give back) the count", result)


@pytest.mark.parametrize(
    ("expression", "call", "words"),
    [
        ("a * (a + 1) // 2", "f(3) == 6", "\u230aa \u00d7 (a + 1) \u00f7 2\u230b"),
        ("math.sqrt(a ** 2 + b ** 2)", "f(3, 4) == 5", "\u221a(a\u00b2 + b\u00b2)"),
        ("a - (b - 1)", "f(3, 4) == 0", "a - (b - 1)"),
        ("a[::-1]", "f('ab') == 'ba'", "the string in reverse order"),
        ("a[1:b]", "f('abc', 2) == 'b'", "the part of the string from position 1 up to but not including position b"),
        (
            "[x * x for x in a if x > b]",
            "f([2], 0) == [4]",
            "the list that holds, for each number of the list for which that number is greater than b, "
            "that number squared",
        ),
        ("max(a, key=len)", "f(['a', 'bc']) == 'bc'", "the string of the list with the largest length"),
        ("sorted(a, reverse=True)", "f([1]) == [1]", "the list sorted in descending order"),
        (
            "abs(a[0] - a[1])",
            "f([3, 1]) == 2",
            "the absolute value of (the first element of the list minus the second element of the list)",
        ),
        ("a.count('x')", "f('xx') == 2", 'the number of times that "x" occurs in the string'),
        ("re.sub('[0-9]+', '', a)", "f('a1') == 'a'", "the string with every occurrence of one or more digits removed"),
    ],
)
def test_expressions_are_said_in_words_or_as_formulas(expression: str, call: str, words: str) -> None:
    assert spoken(expression, f"assert {call}") == words


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("ab*", '"a" followed by "b" any number of times'),
        (r"\d{3,5}", "three to five digits"),
        ("[^aeiou]", 'a character other than "a", "e", "i", "o" or "u"'),
        ("(cat|dog)s?", '"cat" or "dog" followed by "s", which may be missing'),
        (r"\bx", 'the edge of a word followed by "x"'),
    ],
)
def test_patterns_are_said_in_words(pattern: str, words: str) -> None:
    assert pattern_words(pattern) == words


def test_anchors_say_where_a_pattern_has_to_be() -> None:
    assert match_words("^a", "search") == ("start with", '"a"')
    assert match_words("a$", "search") == ("end with", '"a"')
    assert match_words("^a$", "search") == ("consist of", '"a"')
    assert match_words("a", "match") == ("start with", '"a"')
    assert match_words("a", "search") == ("contain", '"a"')


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("class A:\n    pass\ndef f(a):\n    return a", "defines a class"),
        ("def f(a):\n    try:\n        return a\n    except ValueError:\n        return 0", "handles exceptions"),
        ("def f(a):\n    for x in a:\n        return x", "leaves a loop in its first turn"),
        ("def f(a):\n    return a.frobnicate()", "no words for a call"),
        ("def f(a):\n    return [~x for x in a]", "inverts bits"),
        ("def f(a):\n    return a or [1]", "chooses between values"),
        ("def f(a):\n    return (", "does not parse"),
        ("print(1)\ndef f(a):\n    return a", "computes outside of its function"),
    ],
)
def test_what_cannot_be_said_well_is_refused_with_its_reason(program: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        steps(code_problem(program, "assert f([1]) == [1]"))


@pytest.mark.parametrize(
    ("body", "call", "step"),
    [
        (
            "for k in a:\n        t += a[k]",
            "f({'x': 1})",
            "key of the dictionary, add the value that the dictionary has",
        ),
        (
            "for i in range(3):\n        t += i\n    for i in a:\n        t += i",
            "f([1])",
            "element i of the list, add i to",
        ),
        ("for x in a:\n        if x == 2:\n            continue\n        t += x", "f([1])", "if the current number"),
        ("i = 5\n    while i > a:\n        i -= 1\n        t += i", "f(1)", "i is greater than a"),
        ("if a > 1:\n        if a < 9:\n            t += 1", "f(3)", "if a is greater than 1 and a is less than 9"),
        ("t += a.pop(0)", "f([1])", "the element at position 0, taken out of the list"),
        ("a[0], a[-1] = a[-1], a[0]\n    t += a[0]", "f([1])", "swap the first element of the list and the last"),
    ],
)
def test_statements_are_said_with_what_they_are_about(body: str, call: str, step: str) -> None:
    program = f"def f(a):\n    t = 0\n    {body}\n    return t\n"
    assert any(step in line for line in steps(code_problem(program, f"assert {call} == 1")))


def test_it_is_clear_which_condition_an_otherwise_belongs_to() -> None:
    program = "def f(a):\n    if a > 1:\n        if a < 9:\n            a = 0\n    else:\n        a = 5\n    return a\n"
    said = steps(code_problem(program, "assert f(3) == 0"))
    condition = said.index("if a is greater than 1:")
    assert said[condition + 1].startswith(">if a is less than 9, ")
    assert said[condition + 2].startswith("otherwise, ")


@pytest.mark.parametrize("style", range(STYLES))
def test_no_style_shows_program_text_or_names(style: int) -> None:
    assert COUNT_EVEN.solution is not None and COUNT_EVEN.tests is not None
    program = read_program(COUNT_EVEN.solution, COUNT_EVEN.tests)
    chosen = Style(style)
    lines = narrate(program, COUNT_EVEN.statement, vocabulary(program), chosen)
    text = render(lines, layout_of(lines, chosen))
    assert not re.search(r"tally|\bnumbers\[|\bres\b|==|\+=|\bdef\b|\breturn res\b|range\(", text)
    assert not task_of(COUNT_EVEN.task).leaks(COUNT_EVEN, text)


def test_styles_word_and_lay_out_plans_differently() -> None:
    assert len({tuple(steps(COUNT_EVEN, style)) for style in range(STYLES)}) >= STYLES // 2


def test_traces_are_the_same_for_the_same_draw_and_their_program_is_found_again(trials: Trials) -> None:
    traces = [CodeTraces(trials).traces(UNIQUE, random.Random(seed)) for seed in (1, 1, 2, 3, 4, 5)]
    assert traces[0] == traces[1] and len({trace for (trace,) in traces}) > 1
    plan = plan_of(UNIQUE, traces[2][0])
    assert plan is not None and plan.text == traces[2][0]
    assert plan_of(UNIQUE, "Sort the words.") is None


def test_a_reference_program_that_fails_its_tests_is_no_reference(trials: Trials) -> None:
    wrong = code_problem("def f(a):\n    return a + 1\n", "assert f(1) == 3")
    slow = code_problem("def f(a):\n    while True:\n        a += 1\n    return a\n", "assert f(1) == 2")
    for problem in (wrong, slow):
        with pytest.raises(Refused, match="does not pass its own tests"):
            CodeTraces(trials).traces(problem, random.Random(0))


def test_the_plainer_form_of_a_program_does_the_same(trials: Trials) -> None:
    program = (
        "def f(s, k):\n    n = len(s)\n    a, b = 0, 1\n    s = list(s)\n    for i in range(n):\n        part = s[i]\n"
        "        a = a + int(part)\n    result = a * b + k\n    return result\n"
    )
    problem = code_problem(program, "assert f('123', 4) == 10")
    assert problem.solution is not None and problem.tests is not None
    plain = read_program(problem.solution, problem.tests).source
    assert "result" not in plain and "part" not in plain and "a += int(" in plain and "a, b" not in plain
    assert trials.passes(plain, problem.tests)
