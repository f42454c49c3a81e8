"""Code problems with reference programs, and a sandbox for them."""

from __future__ import annotations

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.types import CodeTests, Problem

SANDBOX = SandboxConfig("sandbox", None, "auto", None, (), 2.0, 6.0, 1024, 256, 16, 64, 64, (), "")


def code_problem(program: str, *asserts: str, statement: str = "Write a function to do it.", id: str = "p") -> Problem:
    """A code problem with a reference program."""
    return Problem(id, "code", statement, "code", tests=CodeTests("function", asserts=asserts), solution=program)


COUNT_EVEN = code_problem(
    "def tally(numbers):\n"
    "    if len(numbers) == 0:\n"
    "        return -1\n"
    "    res = 0\n"
    "    for i in range(len(numbers)):\n"
    "        if numbers[i] % 2 == 0 and numbers[i] > 0:\n"
    "            res = res + 1\n"
    "    return res\n",
    "assert tally([1, 2, 4, -2]) == 2",
    "assert tally([]) == -1",
    "assert tally([3, 0, 8]) == 1",
    statement="Write a python function to count the positive even numbers of a list, or give -1 for an empty one.",
)
UNIQUE = code_problem(
    "def unique(words):\n    return sorted(set(words))\n",
    "assert unique(['b', 'a', 'b']) == ['a', 'b']",
    statement="Write a function to list the distinct words in order.",
)
