"""A planner-executor system of a few lines, and results made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.unit.tracking.worlds import executed
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.evaluation.attempts import Manner
from tracelift_ray.evaluation.results import EvaluatedTrace, ProblemResult, ResultStore
from tracelift_ray.types import Completion, Execution, Malformed, Outcome, Problem, RubricScore, Trace

PROBLEMS = [Problem(name, "math", "What is 3 + 4?", answer="7") for name in ("a", "b", "c")]
TASKS = [("sums", problem) for problem in PROBLEMS]
SETUP = {"planner": {"weights": "w"}, "executor": {"weights": "e"}, "attempts": 2, "seed": 0}


def manner(traces: str = "greedy", attempts: int = 3, *, scored: bool = False, mask_leaks: bool = False) -> Manner:
    return Manner(traces, attempts, scored, mask_leaks, False, {"short": lambda problem, text: len(text) < 20})


class System:
    """Its planner writes ``reasoning``; its executor succeeds exactly where it is shown a trace."""

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
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self._note("planner", problem, (index, greedy))
        malformed: Malformed | None = None if self.reasoning else "empty"
        return Trace(problem.id, index, (1,), Completion((2, 3), "text", "stop"), self.reasoning, malformed, "1 + 1?")

    async def execute(
        self, problem: Problem, reasoning: str | None, count: int, key: Sequence[object]
    ) -> tuple[Execution, ...]:
        self._note("baseline" if reasoning is None else "executor", problem, (reasoning, count, tuple(key)))
        outcome: Outcome = "wrong_answer" if reasoning is None else "passed"
        return executed(*[outcome] * count)

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        self._note("reasoning_rm", problem, reasoning)
        return RubricScore((4.0,) * 5, 1.0, 0.9)

    def details(self, what: str) -> list[object]:
        return [detail for name, _, detail in self.calls if name == what]


def result(
    id: str, with_trace: str, without: str, *, benchmark: str = "sums", leaked: bool = False, malformed: bool = False
) -> ProblemResult:
    """A result from attempts written as ``1`` (passed) and ``0``."""
    outcomes = {"1": "passed", "0": "wrong_answer"}
    trace = EvaluatedTrace(
        None if malformed else "add", "empty" if malformed else None, 4, False, leaked, 0.5, {"ok": True}
    )
    attempts, baseline = (tuple(outcomes[each] for each in text) for text in (with_trace, without))
    return ProblemResult(benchmark, id, "math", (trace,), attempts, baseline, ("7",) * len(attempts))  # type: ignore[arg-type]


def store(directory: Path) -> ResultStore:
    return ResultStore(directory, SETUP)
