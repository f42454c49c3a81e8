"""Where an answer is complete: what is read of a completion cut there is what is read of all of it."""

import random
import re

import pytest

from tracelift_ray.tasks.table import TASKS
from tracelift_ray.types import Problem

MATH = (
    "Tom has 3 + 4 = 7 apples.\n",
    "#### 7\n",
    "#### $1,200.50 dollars\n",
    "**#### 12**\n",
    "#### **-5**\n",
    "#### Solution\n",
    "#### Solution #### 8\n",
    "##### 6\n",
    "########\n",
    "######## 9\n",
    "####\n",
    "#### \\boxed{11}\n",
    "#### (3, 4)\n",
    "The answer is 21.\n",
    "So \\boxed{22}.\n",
    "####7 and #### 8\n",
    "#### ...\n",
    "Problem: Ann has 5 pens.\n",
    "### Step 1\n",
    "#### 1. Add them\n",
    "\n",
    "#### 99",
)
CODE = (
    "Here is the program:\n",
    "```python\n",
    "```\n",
    "  ```\n",
    "``` python title\n",
    "```py`thon\n",
    "n = int(input())\n",
    "    print(n)\n",
    "\n",
    "```inline``` code\n",
    "This prints it.\n",
    "print(n) ```\n",
    "~~~\n",
    "```",
)


def cut(task: str, text: str) -> str:
    match = re.search(TASKS[task].answered, text, re.MULTILINE)
    return text[: match.end()] if match else text


@pytest.mark.parametrize(("task", "parts"), [("math", MATH), ("code", CODE)])
def test_a_completion_that_ends_where_it_is_answered_reads_as_the_whole_one(task, parts):
    rng, problem = random.Random(0), Problem("p", task, "")
    ended = 0
    for _ in range(20_000):
        text = "".join(rng.choices(parts, k=rng.randint(1, 7)))
        shorter = cut(task, text)
        ended += shorter != text
        assert TASKS[task].read_artifact(problem, shorter) == TASKS[task].read_artifact(problem, text), text
    assert ended > 4_000


@pytest.mark.parametrize(
    ("task", "text", "left"),
    [
        ("math", "3 + 4 = 7\n#### 7\n\nProblem: Ann", "3 + 4 = 7\n#### 7\n"),
        ("math", "#### Solution\nIt is\n#### $7.\nNext", "#### Solution\nIt is\n#### $7.\n"),
        ("code", "Sure:\n```python\nprint(1)\n```\nThis prints 1.", "Sure:\n```python\nprint(1)\n```\n"),
    ],
)
def test_a_whole_answer_ends_it(task, text, left):
    assert cut(task, text) == left


@pytest.mark.parametrize(
    ("task", "text"),
    [("math", "#### 7"), ("math", "The answer is 7.\nOr 8.\n"), ("code", "```python\nprint(1)\n"), ("code", "n = 1\n")],
)
def test_what_may_still_change_does_not(task, text):
    assert cut(task, text) == text


@pytest.mark.parametrize("task", TASKS)
def test_every_pattern_ends_in_a_newline_as_engines_rely_on(task):
    assert TASKS[task].answered.endswith("\\n") or not TASKS[task].answered
