"""A solution that a model tells as reasoning becomes a trace only where it keeps the solution to itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.dataset.cases import PROBLEM
from tests.unit.dataset.code_cases import UNIQUE
from tracelift_ray.dataset.llm.edits import narration_prompt
from tracelift_ray.dataset.llm.model import AskedModel, RequestTooLong
from tracelift_ray.dataset.llm.stages import ByLlm
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.dataset.settings import PerturbConfig, TracesConfig
from tracelift_ray.types import Problem

CODE = "<reasoning>```python\nsorted(set(words))\n```</reasoning>"
PLAN = "<reasoning>Keep each word once, and put them in order.</reasoning>"
OTHER = "<reasoning>Collect the distinct words; return them sorted.</reasoning>"


class Replies(AskedModel):
    """A model that gives these replies in turn, and counts them."""

    def __init__(self, *replies: str) -> None:
        self.replies = replies
        self.asked: list[str] = []

    async def ask(self, request: str, *, greedy: bool = False, attempt: int = 0) -> str:
        assert attempt == len(self.asked)
        self.asked.append(request)
        if not self.replies:
            raise RequestTooLong("4,000 tokens")
        return self.replies[attempt % len(self.replies)]


def told(problem: Problem, model: Replies, samples: int = 4, keep: int = 2) -> list[str]:
    return asyncio.run(
        ByLlm(model, TracesConfig("llm", samples, keep, 3, 2), PerturbConfig("llm", 8, 0.5, 1), 0).traces(problem)
    )


def test_the_request_shows_problem_and_solution_and_says_what_to_leave_out() -> None:
    for problem, keeps in ((UNIQUE, "its code"), (PROBLEM, "that answer")):
        request = narration_prompt(problem)
        assert problem.statement in request and (problem.solution or "-") in request and keeps in request


def test_leaks_and_untagged_replies_are_asked_for_again_until_enough_are_kept() -> None:
    model = Replies(CODE, "untagged", PLAN, PLAN, OTHER, OTHER)
    kept = ["Keep each word once, and put them in order.", "Collect the distinct words; return them sorted."]
    assert told(UNIQUE, model, samples=8) == kept
    assert len(model.asked) == 5
    assert told(PROBLEM, Replies("<reasoning>It is 150*4 = ?</reasoning>"), samples=2) == ["It is 150*4 = ?"]


@pytest.mark.parametrize(
    ("problem", "model", "reason"),
    [
        (Problem("p", "math", "s", answer="1"), Replies(PLAN), "no reference solution"),
        (UNIQUE, Replies(CODE), "keeps the solution to itself"),
        (PROBLEM, Replies("<reasoning>The answer is 600.</reasoning>"), "keeps the solution to itself"),
        (UNIQUE, Replies(), "does not fit"),
    ],
)
def test_a_problem_without_a_usable_narration_is_refused(problem: Problem, model: Replies, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        told(problem, model)
