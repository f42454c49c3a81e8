"""Where the answer or the program stands in an executor's completion."""

import time

import pytest

from tracelift_ray.tasks.answers import MAX_ANSWER_CHARS, read_answer
from tracelift_ray.tasks.programs import read_program
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("48+24 = 72 clips\n#### 72", "72"),
        ("#### $1,234.", "$1,234"),
        ("#### Step 1: add\n5 + 6\n#### 11", "11"),
        ("#### \\boxed{7}", "7"),
        ("#### 12\nThe answer is 13. \\boxed{14} 15", "12"),
        ("The answer is 5. Check: 2 + 3. 9", "5"),
        ("The final answer is: **5** because 2+3=5", "5"),
        ("Final Answer: $\\boxed{\\frac{1}{2}}$. I hope it is correct.", "\\frac{1}{2}"),
        ("the answer to the question is 7 apples, since 3 + 4 = 7", "7 apples"),
        ("The answer is that Tom has 5 pens.", "5"),
        ("The answer is x^2+1.", "x^2+1"),
        ("The answer is (1, 2)", "(1, 2)"),
        ("The answer is 3, no: the answer is 4", "4"),
        ("so \\boxed{\\frac{1}{\\sqrt{2}}} and 3 more", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("Answer: Tom has 3 + 4 = 7 pens, then 5.\nSo 12 in all.", "12"),
        ("He has 20-2 = 18 left.", "18"),
        ("it drops to -3", "-3"),
        ("12", "12"),
        (" 40 ", "40"),
        ("It is 50%", "50%"),
        ("5\n\nProblem: Ann has 3 pens. How many?\nThe answer is 3", "5"),
    ],
)
def test_math_answers(text, answer):
    assert read_answer(text) == answer


@pytest.mark.parametrize("text", ["", "I do not know.", "#### ", "\\boxed{", "####\n####"])
def test_no_answer(text):
    assert read_answer(text) is None


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("n=int(input()) ; n= n + 3 ; print(n)", "n=int(input()) ; n= n + 3 ; print(n)"),
        ("```python\nprint(1)\n```\nThis prints 1.\n```\nother\n```", "print(1)"),
        ("Here is the program:\n```\nprint(1)\n```", "print(1)"),
        ("```py\ndef f():\n    return 1", "def f():\n    return 1"),
        ("def f():\r\n    return 1\r\n```", "def f():\r\n    return 1"),
        ("Sure! Here it is:\n\nprint(1)", "print(1)"),
        ("def f(x):\n    return x\n\nThis function returns x.\nIt is short.", "def f(x):\n    return x"),
        ("[BEGIN]\ndef f():\n    pass\n[DONE]\n\nProblem: another", "def f():\n    pass"),
        ("## count\nTime = 3\nFor(Time)", "## count\nTime = 3\nFor(Time)"),
        ("    x = 1\n", "    x = 1"),
    ],
)
def test_programs(text, program):
    assert read_program(text) == program


@pytest.mark.parametrize("text", ["", "\n\n", "I cannot do this.", "```\n```", "```python\n\n```"])
def test_no_program(text):
    assert read_program(text) is None


def test_a_task_reads_its_own_kind_of_artifact():
    text = "#### 5\n```\nprint(5)\n```"
    found = [task_of(task).read_artifact(Problem("1", task, "s", answer="5"), text) for task in ("math", "code")]
    assert found == ["5", "print(5)"]


@pytest.mark.parametrize(
    "piece",
    ["a", "#", "answer is ", "\\boxed{", "{", "1 ", "1,", "```\n", " ", "\n", "-", "Question ", "answer is a, "],
)
def test_a_megabyte_of_anything_is_read_in_time(piece):
    text = "answer " + "\\boxed{" + piece * (1_000_000 // len(piece))
    started = time.process_time()
    answer = read_answer(text)
    read_program(text)
    assert time.process_time() - started < 5
    assert answer is None or len(answer) <= MAX_ANSWER_CHARS
