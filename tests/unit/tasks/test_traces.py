"""Reading traces, and the answers they give away."""

import time

import pytest

from tracelift_ray.tasks.table import task_of
from tracelift_ray.tasks.traces import read_trace
from tracelift_ray.types import Completion, Problem, Prompt

PROMPT = Prompt((1, 2, 3), "p")
CODE = Problem("c", "code", "s")


def leaks_answer(problem: Problem, text: str) -> bool:
    return task_of(problem.task).leaks(problem, text)


def mask_answer(problem: Problem, text: str) -> str:
    return task_of(problem.task).mask(problem, text)


def math(answer: str) -> Problem:
    return Problem("m", "math", "s", answer=answer)


def read(text, opened=True, whole_text=False, finish="stop"):
    completion = Completion((7, 8), text, finish, logprobs=(-0.1, -0.2))
    return read_trace(math("5"), 3, PROMPT, completion, opened, whole_text)


def test_a_trace_is_the_text_inside_the_tag_and_keeps_the_tokens():
    trace = read(" add 2 and 3 \n</reasoning> The answer is 5")
    assert trace.reasoning == "add 2 and 3" and trace.malformed is None
    assert (trace.problem_id, trace.index, trace.prompt_ids) == ("m", 3, (1, 2, 3))
    assert trace.completion.token_ids == (7, 8) and trace.completion.logprobs == (-0.1, -0.2)


def test_text_outside_the_tag_is_no_reasoning():
    assert read("Sure: <reasoning>add</reasoning> #### 5", opened=False).reasoning == "add"
    assert read("<reasoning>\nadd</reasoning>", opened=True).reasoning == "add"


@pytest.mark.parametrize(
    ("text", "opened", "finish", "kind"),
    [
        ("add 2 and 3", False, "stop", "unopened"),
        ("add 2 and 3", False, "length", "unopened"),
        ("add</reasoning>", False, "stop", "unopened"),
        ("add 2 and 3", True, "stop", "unclosed"),
        ("add 2 and", True, "length", "length"),
        ("<reasoning>add", False, "length", "length"),
        (" \n </reasoning>", True, "stop", "empty"),
        ("x<reasoning></reasoning>", False, "stop", "empty"),
    ],
)
def test_malformed_traces_have_a_kind_and_no_reasoning(text, opened, finish, kind):
    trace = read(text, opened, finish=finish)
    assert trace.malformed == kind and trace.reasoning is None


def test_whole_text_uses_a_malformed_trace_and_keeps_its_kind():
    trace = read("<reasoning> add 2 and", False, whole_text=True, finish="length")
    assert (trace.reasoning, trace.malformed) == ("add 2 and", "length")
    trace = read("add", False, whole_text=True)
    assert (trace.reasoning, trace.malformed) == ("add", "unopened")


@pytest.mark.parametrize("text", ["", "  ", "</reasoning>", "<reasoning></reasoning>", "<reasoning> "])
def test_an_empty_trace_is_malformed_under_either_rule(text):
    for opened in (True, False):
        trace = read(text, opened, whole_text=True)
        assert trace.reasoning is None and trace.malformed in ("empty", "unopened")
        assert read(text, opened).reasoning is None


LEAKS = [
    ("16", "5 + 3 = 8 ; 8 * 2 = 16", "5 + 3 = 8 ; 8 * 2 = ?"),
    ("5", "so the result is 5.", "so the result is ?."),
    ("1,234", "he gets $1,234.00 in all", "he gets ? in all"),
    ("72", "48+24 = <<48+24=72>>72 clips", "48+24 = <<48+24=?>>? clips"),
    ("5", "The answer is 5: 2 + 3. Then stop at 1 = 1", "The answer is ?: 2 + 3. Then stop at 1 = 1"),
    ("5", "\\boxed{5}, then go on", "\\boxed{?}, then go on"),
    ("1/2", "that makes \\boxed{\\frac12}", "that makes \\boxed{?}"),
    ("10", "that is 10%", "that is ?"),
    ("x^2+1", "the answer is x^2 + 1", "the answer is ?"),
    ("25", "she needs 20 + 5 = 25ml of oil", "she needs 20 + 5 = ?ml of oil"),
    ("15", "5 * 3 = 15 left. The total is 15", "5 * 3 = ? left. The total is ?"),
]


@pytest.mark.parametrize(("answer", "text", "masked"), LEAKS)
def test_a_stated_answer_leaks_and_is_masked(answer, text, masked):
    assert leaks_answer(math(answer), text)
    assert mask_answer(math(answer), text) == masked
    assert not leaks_answer(math(answer), masked)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("16", "5 + 3 = 8 ; 8 * 2"),
        ("5", "The total is 15."),
        ("5", "so it is 5.3"),
        ("5", "the price is 1,005"),
        ("5", "multiply 5 by 1"),
        ("15", "10 + 5 = 15 ; 15 - 5 = 10 ; 10 + 5"),
        ("4", "2 + 2 = 4 ; 8 - 4"),
        ("18", "16 - 3 - 4 = 9 eggs; then multiply 9 by 2"),
        ("9", "Tom has 9 pens. Subtract 3 from 12"),
        ("?", "what is ?"),
    ],
)
def test_other_numbers_and_intermediate_results_do_not_leak(answer, text):
    assert not leaks_answer(math(answer), text)
    assert mask_answer(math(answer), text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("n=int(input()) ; n= n + 3 ; print(n)", "?"),
        ("Use a loop.\n```python\nx = 1\n```\nThen stop.", "Use a loop.\n?\nThen stop."),
        ("First:\ndef f(x):\n    y = x\n\n    return y\nThen test it.", "First:\n?\nThen test it."),
        ("import math\nuse it", "?\nuse it"),
        ("from math import sqrt", "?"),
        ("f = lambda x: x", "?"),
    ],
)
def test_programs_leak_in_code(text, masked):
    assert leaks_answer(CODE, text)
    assert mask_answer(CODE, text) == masked
    assert not leaks_answer(CODE, masked)


@pytest.mark.parametrize(
    "text",
    [
        "n + 3 : 2 -> 5 ; n * 2 : 5 -> 10",
        "Print the sum of the numbers.",
        "Then print (once) the result",
        "import the data into a list",
        "define a function f(x) that returns x",
        "Read the input (n) as int",
    ],
)
def test_prose_about_programs_does_not_leak(text):
    assert not leaks_answer(CODE, text) and mask_answer(CODE, text) == text


@pytest.mark.parametrize("piece", ["=", "= 5 ", "is 5. ", "def ", "=input", "\n", "```", "=f(", "lambda ", "1 + "])
def test_long_traces_are_searched_in_time(piece):
    text = piece * (20_000 // len(piece))
    started = time.perf_counter()
    assert leaks_answer(math("5"), text) == ("5" in piece)
    assert not leaks_answer(math("5"), mask_answer(math("5"), text))
    mask_answer(CODE, text)
    assert time.perf_counter() - started < 5
