"""What a person reads who waits for a step: its groups, an evaluation's problems, or that the learner works."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from tests.configs import run_config
from tests.unit.evaluation.cases import TASKS, System, manner
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.evaluation.attempts import Attempts
from tracelift_ray.evaluation.benchmarks import checks_for
from tracelift_ray.evaluation.results import ResultsInMemory
from tracelift_ray.evaluation.run import evaluate_all
from tracelift_ray.evaluation.standing import standing
from tracelift_ray.rl.ledger import Ledger
from tracelift_ray.tracking import alive


def loop(gathered: tuple[int, int] | None) -> Any:
    ledger = Ledger()
    for _ in range(3):
        ledger.submit()
    ledger.ready(0)
    scheduler = SimpleNamespace(gathered=lambda: gathered, ledger=ledger)
    return SimpleNamespace(progress=SimpleNamespace(step=4), run=SimpleNamespace(total_steps=9), scheduler=scheduler)


def test_a_step_says_how_far_it_is() -> None:
    idle: Any = SimpleNamespace(standing=lambda: None)
    assert standing(loop((2, 8)), idle) == "step 5/9: 2 of 8 groups done, 1 more ready, 2 running"
    assert standing(loop(None), idle) == "step 5/9: update, broadcast or save under way"
    evaluating: Any = SimpleNamespace(standing=lambda: "evaluation: 3 of 9 problems")
    assert standing(loop(None), evaluating) == "evaluation: 3 of 9 problems"


def test_a_demo_planner_on_published_problems_is_not_asked_whether_its_traces_are_valid_in_the_demo() -> None:
    run = run_config()
    (demo,) = demo_problems("math", 1, 0, "heldout")
    assert checks_for(run, [("math", demo)]).keys() == {"trace_validity"}
    assert checks_for(run, [("math", demo), TASKS[0]]) == {}


async def test_an_evaluation_of_slow_problems_says_how_far_it_is(monkeypatch: Any) -> None:
    monkeypatch.setattr("tracelift_ray.evaluation.run.SILENT_S", 0.001)
    said: list[str] = []
    attempts = Attempts(System(), manner("greedy", 1))
    gate = asyncio.Event()

    async def slow(name: str, problem: Any) -> Any:
        if len(results.done) > 0:
            await gate.wait()
        return await attempts.evaluate(name, problem)

    results = ResultsInMemory()
    running = asyncio.ensure_future(evaluate_all(TASKS, slow, results, say=said.append, concurrency=1))
    while not said or not said[-1].startswith("1 of"):
        await asyncio.sleep(0.001)
    gate.set()
    await running
    assert any(line.startswith(f"1 of {len(TASKS)} problems, ETA 0:") for line in said) and alive.SILENT_S <= 10
