import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.unit.tracking.worlds import executed
from tracelift_ray.evaluation.run import Evaluator
from tracelift_ray.evaluation.summary import summarise
from tracelift_ray.types import (
    Baseline,
    Completion,
    Execution,
    InfrastructureError,
    Malformed,
    Outcome,
    Problem,
    RubricScore,
    Trace,
)

PROBLEMS = [Problem(name, "math", "What is 3 + 4?", answer="7") for name in ("a", "b", "c")]


class System:
    """A planner that writes ``reasoning``, and an executor that solves a problem exactly when it sees a trace."""

    def __init__(self, reasoning: str | None = "add the two") -> None:
        self.reasoning = reasoning
        self.calls: list[tuple[str, str, object]] = []
        self.broken: set[tuple[str, str]] = set()
        self.running = self.most_running = 0

    def _note(self, what: str, problem: Problem, detail: object) -> None:
        self.calls.append((what, problem.id, detail))
        if (what, problem.id) in self.broken:
            raise InfrastructureError(what, "gone")

    async def trace(
        self, problem: Problem, index: int, key: Sequence[object], *, greedy: bool = False, whole_text: bool = False
    ) -> Trace:
        assert greedy
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self._note("planner", problem, key)
        malformed: Malformed | None = None if self.reasoning else "empty"
        return Trace(problem.id, index, (1,), Completion((2,), "text", "stop"), self.reasoning, malformed)

    async def execute(
        self, problem: Problem, reasoning: str | None, count: int, key: Sequence[object]
    ) -> tuple[Execution, ...]:
        self._note("executor" if reasoning is not None else "baseline", problem, reasoning or key)
        outcome: Outcome = "wrong_answer" if reasoning is None else "passed"
        return executed(*[outcome] * count)

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        self._note("reasoning_rm", problem, reasoning)
        return RubricScore((4.0,) * 5, 1.0, 0.9)

    def counts(self) -> Counter[str]:
        return Counter(what for what, _, _ in self.calls)


async def test_every_problem_is_traced_executed_scored_and_compared_with_its_baseline() -> None:
    records = await Evaluator(System(), num_samples=3, scored=True).evaluate(PROBLEMS)
    assert [r.problem.id for r in records] == ["a", "b", "c"]
    assert all(r.accuracy == 1.0 and r.baseline == Baseline(0, 3) and r.uplift == 1.0 for r in records)
    assert summarise(records).metrics()["evaluation/math/rm_score"] == pytest.approx(0.9)


async def test_baselines_are_sampled_once_for_all_evaluations() -> None:
    system = System()
    evaluator = Evaluator(system, num_samples=3, scored=False)
    for _ in range(3):
        await evaluator.evaluate(PROBLEMS)
    assert system.counts() == {"planner": 9, "executor": 9, "baseline": 3}


async def test_a_baseline_that_failed_is_tried_again_at_the_next_evaluation() -> None:
    system = System()
    system.broken = {("baseline", "b")}
    evaluator = Evaluator(system, num_samples=3, scored=False)
    assert [r.baseline for r in await evaluator.evaluate(PROBLEMS)] == [Baseline(0, 3), None, Baseline(0, 3)]
    system.broken = set()
    assert all(r.baseline == Baseline(0, 3) for r in await evaluator.evaluate(PROBLEMS))


@pytest.mark.parametrize("part", ["planner", "executor", "reasoning_rm"])
async def test_an_infrastructure_error_masks_its_problem_alone(part: str) -> None:
    system = System()
    system.broken = {(part, "b")}
    records = await Evaluator(system, num_samples=3, scored=True).evaluate(PROBLEMS)
    assert [r.accuracy for r in records] == [1.0, None, 1.0]
    assert summarise(records).tasks["math"].masked == pytest.approx(1 / 3)


async def test_a_malformed_trace_is_never_executed() -> None:
    system = System(reasoning=None)
    records = await Evaluator(system, num_samples=3, scored=True).evaluate(PROBLEMS)
    assert system.counts() == {"planner": 3, "baseline": 3}
    assert all(r.accuracy == 0.0 for r in records)


@pytest.mark.parametrize("mask_leaks", [True, False])
async def test_a_leaked_answer_is_counted_and_hidden_where_the_run_hides_it(mask_leaks: bool) -> None:
    system = System(reasoning="3 + 4 gives. The answer is 7")
    records = await Evaluator(system, num_samples=1, scored=True, mask_leaks=mask_leaks).evaluate(PROBLEMS[:1])
    assert records[0].trajectory is not None and records[0].trajectory.leaked
    shown = {what: detail for what, _, detail in system.calls}
    assert ("7" in str(shown["executor"])) is not mask_leaks
    assert "7" in str(shown["reasoning_rm"])


async def test_seeds_depend_on_the_problem_and_not_on_the_evaluation() -> None:
    system = System()
    evaluator = Evaluator(system, num_samples=1, scored=False)
    await evaluator.evaluate(PROBLEMS)
    await evaluator.evaluate(PROBLEMS)
    keys = [detail for what, problem, detail in system.calls if (what, problem) == ("planner", "a")]
    assert len(keys) == 2 and keys[0] == keys[1]
    assert len({str(detail) for what, _, detail in system.calls if what == "planner"}) == 3


async def test_no_more_problems_than_asked_are_under_way() -> None:
    system = System()
    await Evaluator(system, num_samples=1, scored=False, concurrency=2).evaluate(PROBLEMS)
    assert system.most_running == 2
