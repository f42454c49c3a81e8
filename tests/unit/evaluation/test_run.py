import asyncio
from pathlib import Path

import pytest

from tests.unit.evaluation.cases import PROBLEMS, TASKS, System, manner, store
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.evaluation.attempts import Attempts
from tracelift_ray.evaluation.results import ProblemResult, ResultsInMemory
from tracelift_ray.evaluation.run import evaluate_all
from tracelift_ray.types import Problem


async def test_with_a_greedy_trace_every_attempt_is_a_sample_on_it() -> None:
    system = System()
    result = await Attempts(system, manner("greedy", 3, scored=True)).evaluate("sums", PROBLEMS[0])
    assert system.details("planner") == [(0, True)]
    assert [detail[1] for detail in system.details("executor")] == [3]  # type: ignore[index]
    assert (result.successes, result.baseline_successes, result.uplift) == ((True,) * 3, (False,) * 3, 1.0)
    (trace,) = result.traces
    assert (trace.text, trace.tokens, trace.rm_score, trace.checks) == ("add the two", 2, 0.9, {"short": True})
    assert result.artifacts == ("7",) * 3


async def test_with_sampled_traces_every_attempt_has_one_of_its_own() -> None:
    system = System()
    result = await Attempts(system, manner("sampled", 3)).evaluate("sums", PROBLEMS[0])
    assert sorted(system.details("planner")) == [(0, False), (1, False), (2, False)]  # type: ignore[type-var]
    assert [detail[1] for detail in system.details("executor")] == [1, 1, 1]  # type: ignore[index]
    assert len({detail[2] for detail in system.details("executor")}) == 3  # type: ignore[index]
    assert len(result.traces) == 3 and result.successes == (True,) * 3 and len(result.baseline_successes) == 3


@pytest.mark.parametrize(("traces", "attempts"), [("greedy", 3), ("sampled", 2)])
async def test_a_malformed_trace_fails_all_its_attempts_without_being_executed(traces: str, attempts: int) -> None:
    system = System(reasoning=None)
    result = await Attempts(system, manner(traces, attempts, scored=True)).evaluate("sums", PROBLEMS[0])
    assert result.with_trace == ("no_artifact",) * attempts and result.artifacts == (None,) * attempts
    assert not system.details("executor") and not system.details("reasoning_rm")
    assert result.traces[0].malformed == "empty" and result.traces[0].checks == {"short": False}
    assert (result.traces[0].prompt, result.traces[0].written) == ("1 + 1?", "text")


@pytest.mark.parametrize("mask_leaks", [True, False])
async def test_a_leaked_answer_is_noted_and_hidden_where_the_run_hides_it(mask_leaks: bool) -> None:
    system = System(reasoning="The answer is 7")
    result = await Attempts(system, manner(mask_leaks=mask_leaks)).evaluate("sums", PROBLEMS[0])
    assert result.traces[0].leaked
    assert ("7" in str(result.traces[0].text)) is not mask_leaks


@pytest.mark.parametrize("part", ["planner", "executor", "baseline", "reasoning_rm"])
async def test_a_part_that_fails_leaves_its_problem_without_a_result(tmp_path: Path, part: str) -> None:
    system = System()
    system.broken = {(part, "b")}
    kept = store(tmp_path)
    attempts = Attempts(system, manner(scored=True))
    causes = await evaluate_all(TASKS, attempts.evaluate, kept, concurrency=2, say=lambda line: None)
    assert {id for _, id in kept.done} == {"a", "c"} and causes == {f"{part}: gone": 1}
    kept.close()
    with pytest.raises(InfrastructureError):
        await attempts.evaluate("sums", PROBLEMS[1])


async def test_what_has_a_result_is_not_evaluated_again_and_what_failed_is(tmp_path: Path) -> None:
    system = System()
    system.broken = {("executor", "b")}
    kept = store(tmp_path)
    await evaluate_all(TASKS, Attempts(system, manner()).evaluate, kept, concurrency=8, say=lambda line: None)
    kept.close()
    system.broken, system.calls = set(), []
    said: list[str] = []
    again = store(tmp_path)
    causes = await evaluate_all(TASKS, Attempts(system, manner()).evaluate, again, concurrency=8, say=said.append)
    again.close()
    assert {id for what, id, _ in system.calls} == {"b"} and not causes
    assert {id for _, id in again.done} == {"a", "b", "c"} and said == ["2 of 3 problems have results already"]


async def test_an_interruption_loses_only_the_problems_under_way(tmp_path: Path) -> None:
    kept = store(tmp_path)
    attempts = Attempts(System(), manner())

    async def stuck_at_b(benchmark: str, problem: Problem) -> ProblemResult:
        if problem.id == "b":
            await asyncio.sleep(60)
        return await attempts.evaluate(benchmark, problem)

    evaluation = asyncio.ensure_future(evaluate_all(TASKS, stuck_at_b, kept, concurrency=8, say=lambda line: None))
    while len(kept.done) < 2:
        await asyncio.sleep(0.01)
    evaluation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await evaluation
    kept.close()
    assert {id for _, id in store(tmp_path).done} == {"a", "c"}


async def test_another_executor_is_given_the_very_same_traces() -> None:
    own, other = System(), System(reasoning="never asked for")
    for traces, attempts, sent in (("greedy", 2, [2]), ("sampled", 2, [1, 1])):
        earlier = await Attempts(own, manner(traces, attempts)).evaluate("sums", PROBLEMS[0])
        other.calls = []
        replayed = await Attempts(other, manner(traces, attempts)).replay(earlier, PROBLEMS[0])
        assert not other.details("planner") and replayed.traces == earlier.traces
        assert [detail[:2] for detail in other.details("executor")] == [("add the two", count) for count in sent]  # type: ignore[index]
        assert replayed.with_trace == ("passed",) * 2 and len(replayed.without_trace) == 2


async def test_attempts_without_a_trace_are_made_once_and_again_after_a_failure() -> None:
    system = System()
    system.broken = {("baseline", "b")}
    attempts = Attempts(system, manner())
    for _ in range(2):
        await evaluate_all(TASKS, attempts.evaluate, ResultsInMemory(), say=lambda line: None, concurrency=8)
    assert [id for what, id, _ in system.calls if what == "baseline"].count("b") == 2
    assert [id for what, id, _ in system.calls if what == "baseline"].count("a") == 1


async def test_seeds_depend_on_the_problem_and_not_on_the_evaluation() -> None:
    system = System()
    for _ in range(2):
        await evaluate_all(
            TASKS, Attempts(system, manner()).evaluate, ResultsInMemory(), say=lambda line: None, concurrency=8
        )
    keys = [(id, detail[2]) for what, id, detail in system.calls if what == "executor"]  # type: ignore[index]
    assert len(keys) == 6 and len(set(keys)) == 3


async def test_no_more_problems_than_asked_are_under_way() -> None:
    system = System()
    attempts = Attempts(system, manner())
    await evaluate_all(TASKS, attempts.evaluate, ResultsInMemory(), say=lambda line: None, concurrency=2)
    assert system.most_running == 2


async def test_an_error_that_is_no_infrastructure_error_ends_the_evaluation() -> None:
    async def wrong(benchmark: str, problem: Problem) -> ProblemResult:
        raise ValueError("a mistake")

    with pytest.raises(ExceptionGroup) as raised:
        await evaluate_all(TASKS, wrong, ResultsInMemory(), say=lambda line: None, concurrency=8)
    assert raised.group_contains(ValueError, match="a mistake")
