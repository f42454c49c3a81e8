"""How a group is run: streaming of each trace, requests made, and what becomes of missing pieces."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeGenerator, FakeReasoningRm, FakeVerifier, completion, problems
from tracelift_ray.config.schema import RewardConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.assembly import build_rollout, system_settings
from tracelift_ray.rl.baselines import Baselines
from tracelift_ray.rl.rollout import GroupFailed, Rollout
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools
from tracelift_ray.rl.tickets import Ticket, saved_tickets, saved_traces
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Baseline, Completion, Problem, Prompt, RubricScore, SamplingParams

RUN = run_config()
SETTINGS = system_settings(RUN)
PROBLEM = problems(5)[4]  # "what is 4 + 1 ?", answer 5
GOOD = completion("4 + 1 </reasoning>")


def plans(*texts: str) -> FakeGenerator:
    """A planner that writes ``texts`` in turn."""
    written = iter(texts)
    return FakeGenerator(lambda prompt, params: [completion(next(written))])


def answers(with_trace: str = "5", without: str = "4") -> FakeGenerator:
    """An executor that answers by whether it is shown a trace."""

    def answer(prompt: Prompt, params: SamplingParams) -> list[Completion]:
        text = with_trace if "</reasoning>" in prompt.text else without
        return [Completion((1,), text, "stop")] * params.n

    return FakeGenerator(answer)


def ticket() -> Ticket:
    """Of a group that has no trace yet."""
    return Ticket(0, 0, PROBLEM, 0)


@pytest.mark.parametrize("thinks", [False, True])
async def test_executor_samples_end_when_answered_unless_the_model_thinks_before(thinks: bool, monkeypatch):
    executor, settings = answers(), replace(SETTINGS, stop_when_answered=True)
    prompts = settings.executor_prompts
    monkeypatch.setattr(prompts, "file", replace(prompts.file, strip_thinking=thinks))
    system = PlannerExecutorSystem(SystemPools(plans(), executor, FakeVerifier(), None), settings)
    await system.execute(PROBLEM, None, 2, ("key",))
    ((_, params),) = executor.requests
    assert params.until == ("" if thinks else task_of(PROBLEM.task).answered)


def rollout(
    planner: FakeGenerator,
    executor: FakeGenerator,
    *,
    rm: FakeReasoningRm | None = None,
    group_size: int = 2,
    min_traces: int = 2,
    deadline_s: float = 5.0,
    reward: RewardConfig = RUN.reward,
) -> Rollout:
    pools = SystemPools(planner, executor, FakeVerifier(), rm or FakeReasoningRm())
    system = PlannerExecutorSystem(pools, SETTINGS)
    return Rollout(
        system,
        Baselines(system),
        reward,
        group_size=group_size,
        min_traces=min_traces,
        deadline_s=deadline_s,
    )


@pytest.mark.parametrize("e2e", ["fresh", "leave_one_out"])
async def test_one_request_per_trace_for_the_planner_and_one_per_trace_and_group_for_the_executor(e2e: str) -> None:
    planner, executor = plans("4 + 1 </reasoning>", "5 </reasoning>"), answers()
    group = await rollout(planner, executor, reward=replace(RUN.reward, e2e=e2e)).run(ticket())
    assert [params.n for _, params in planner.requests] == [1, 1]
    assert all(params.logprobs for _, params in planner.requests)
    k = RUN.reward.num_samples
    assert sorted(params.n for _, params in executor.requests) == [k, k + 1, k + 1]  # baseline; K and the fresh one
    assert group.baseline is not None and (group.baseline.successes, group.baseline.samples) == (0, k)
    answered = [(each.artifact.content, each.verdict.outcome) for each in group.baseline.executions]
    assert answered == [("4", "wrong_answer")] * k
    # math: 0.5 * 1 + 0.5 * 0.5 * (1 - 0)
    assert [t.reward for t in group.trajectories] == [0.75, 0.75]
    assert [t.uplift for t in group.trajectories] == [1.0, 1.0]
    apart = int(e2e == "fresh")
    assert all(len(t.executions) == k + 1 - apart for t in group.trajectories)
    assert all((t.fresh is not None) == bool(apart) for t in group.trajectories)


async def test_what_goes_through_the_system_is_counted() -> None:
    running = rollout(plans("4 + 1 </reasoning>", "5 </reasoning>"), answers())
    await running.run(ticket())
    rates, k = running.system.throughput.read(), RUN.reward.num_samples
    seconds = 3 / rates["rates/executor_prompts_per_s"]
    assert {name: round(rate * seconds) for name, rate in rates.items()} == {
        "rates/planner_prompts_per_s": 2,
        "rates/planner_tokens_per_s": sum(len(completion(f"{text} </reasoning>").token_ids) for text in ("4 + 1", "5")),
        "rates/executor_prompts_per_s": 3,
        "rates/executor_tokens_per_s": 3 * k + 2,
        "rates/verifier_runs_per_s": 3 * k + 2,
        "rates/scored_traces_per_s": 2,
    }


async def test_every_request_has_a_seed_of_its_own() -> None:
    planner, executor = plans("4 + 1 </reasoning>", "5 </reasoning>"), answers()
    await rollout(planner, executor).run(ticket())
    seeds = [params.seed for _, params in planner.requests + executor.requests]
    assert None not in seeds and len(set(seeds)) == len(seeds)


async def test_a_trace_is_executed_while_others_are_still_being_written() -> None:
    executed = asyncio.Event()

    class Slow(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            self.requests.append((prompt, params))
            if len(self.requests) == 2:
                await asyncio.wait_for(executed.wait(), HANG_S)
            return [GOOD]

    def answer(prompt: Prompt, params: SamplingParams) -> list[Completion]:
        if "</reasoning>" in prompt.text:
            executed.set()
        return [Completion((1,), "5", "stop")] * params.n

    group = await rollout(Slow(lambda *_: []), FakeGenerator(answer)).run(ticket())
    assert [t.masked for t in group.trajectories] == [None, None]


async def test_scoring_overlaps_with_execution() -> None:
    scoring = asyncio.Event()

    class Rm(FakeReasoningRm):
        async def score(self, problem: Problem, reasoning: str) -> RubricScore:
            scoring.set()
            return self.rubric

    class Executor(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            if "</reasoning>" in prompt.text:
                await asyncio.wait_for(scoring.wait(), HANG_S)
            return await super().generate(prompt, params)

    executor = Executor(answers().answer)
    group = await rollout(plans(*["4 + 1 </reasoning>"] * 2), executor, rm=Rm()).run(ticket())
    assert all(t.rubric is not None for t in group.trajectories)


async def test_a_malformed_trace_earns_the_floor_and_costs_no_execution() -> None:
    planner, executor, rm = plans("4 + 1", "4 + 1 </reasoning>"), answers(), FakeReasoningRm()
    group = await rollout(planner, executor, rm=rm).run(ticket())
    unclosed = group.trajectories[0]
    assert (unclosed.trace.malformed, unclosed.reward, unclosed.executions) == ("unclosed", -0.5, ())
    assert unclosed.components == {"execution": 0.0, "uplift": -1.0, "rubric": 0.0}
    assert group.trajectories[1].components["rubric"] == 0.5
    assert len(executor.requests) == 2 and len(rm.scored) == 1


async def test_an_infrastructure_error_masks_the_trace_and_is_counted_never_scored() -> None:
    class Broken(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            if "4 + 1 </reasoning>" in prompt.text:
                raise InfrastructureError("executor", "engine died")
            return await super().generate(prompt, params)

    planner = plans("4 + 1 </reasoning>", "5 </reasoning>", "1 + 4 </reasoning>")
    runs = rollout(planner, Broken(answers().answer), group_size=3)
    group = await runs.run(ticket())
    masked = [t for t in group.trajectories if t.masked]
    assert [t.masked for t in masked] == ["executor: engine died"] and masked[0].reward is None
    assert runs.faults == {"executor": 1}


async def test_a_group_with_too_few_traces_fails_and_names_the_causes() -> None:
    class Broken(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            raise InfrastructureError("planner", "engine died")

    runs = rollout(Broken(lambda *_: []), answers())
    with pytest.raises(GroupFailed, match=r"problem p4 failed: planner: engine died \(2\)"):
        await runs.run(ticket())
    assert runs.faults == {"planner": 2}


async def test_a_lost_baseline_masks_every_trace_of_the_group() -> None:
    class Broken(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            if "</reasoning>" not in prompt.text:
                raise InfrastructureError("executor", "no baseline")
            return await super().generate(prompt, params)

    with pytest.raises(GroupFailed, match="no baseline"):
        await rollout(plans(*["4 + 1 </reasoning>"] * 2), Broken(answers().answer)).run(ticket())


async def test_a_group_of_malformed_traces_fails_with_its_baseline() -> None:
    class Broken(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            raise InfrastructureError("executor", "no baseline")

    with pytest.raises(GroupFailed, match="no baseline"):
        await rollout(plans("4 + 1", "4 + 1"), Broken(lambda *_: [])).run(ticket())


async def test_a_cached_baseline_is_sampled_once_for_groups_that_ask_together(tmp_path: Path) -> None:
    executor = answers()
    run = replace(RUN, reward=replace(RUN.reward, baseline="cached", baseline_cache=str(tmp_path), cached_samples=16))
    system = PlannerExecutorSystem(SystemPools(plans(), executor, FakeVerifier(), None), SETTINGS)
    baselines = build_rollout(run, system).baselines
    found = await asyncio.gather(*(baselines.sample(PROBLEM, epoch, 16) for epoch in range(3)))
    assert [params.n for _, params in executor.requests] == [16]
    assert found == [Baseline(0, 16)] * 3
    assert [len(each.executions) for each in found] == [16, 0, 0], "drawn for one of them; the cache keeps counts alone"
    again = build_rollout(run, system).baselines
    assert await again.sample(PROBLEM, 7, 16) == Baseline(0, 16) and len(executor.requests) == 1


async def test_a_group_past_its_deadline_fails_and_says_what_it_waited_for() -> None:
    slow = FakeGenerator(lambda *_: [GOOD], delay_s=30)
    runs = rollout(slow, answers(), deadline_s=0.05)
    with pytest.raises(GroupFailed, match=r"not complete after 0.05 s \(stream.group_deadline_s\); check"):
        await runs.run(ticket())
    assert runs.faults == {"stream": 1}


async def test_an_answer_stated_in_the_trace_is_a_metric_and_by_config_hidden_from_the_executor() -> None:
    traces = ["4 + 1 = 5 </reasoning>"] * 2
    shown = answers()
    group = await rollout(plans(*traces), shown).run(ticket())
    assert all(t.leaked for t in group.trajectories)
    assert any("= 5 </reasoning>" in prompt.text for prompt, _ in shown.requests)

    hidden = answers()
    await rollout(plans(*traces), hidden, reward=replace(RUN.reward, leak="mask")).run(ticket())
    assert not any("= 5 </reasoning>" in prompt.text for prompt, _ in hidden.requests)


async def test_exec_only_asks_for_the_fresh_sample_alone() -> None:
    executor, rm = answers(), FakeReasoningRm()
    reward = replace(RUN.reward, arm="exec_only")
    group = await rollout(plans(*["4 + 1 </reasoning>"] * 2), executor, rm=rm, reward=reward).run(ticket())
    assert [params.n for _, params in executor.requests] == [1, 1]
    assert rm.scored == [] and group.baseline is None
    assert [t.reward for t in group.trajectories] == [1.0, 1.0]


async def test_a_trace_too_long_for_the_executor_is_cut_at_its_end() -> None:
    system = PlannerExecutorSystem(
        SystemPools(plans(), answers(), FakeVerifier(), None), replace(SETTINGS, executor_prompt_tokens=30)
    )
    prompt, _ = system.executor_request(PROBLEM, "4 + 1 ; " * 40, 1, ())
    assert 20 < len(prompt.token_ids) <= 30 and "4 + 1 ;" in prompt.text


async def test_a_bug_in_one_trace_ends_the_others_of_its_group() -> None:
    ended = asyncio.Event()

    class Planner(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            self.requests.append((prompt, params))
            if len(self.requests) == 2:
                raise KeyError("a bug")
            try:
                await asyncio.sleep(HANG_S)
            finally:
                ended.set()
            return [GOOD]

    with pytest.raises(KeyError, match="a bug"):
        await rollout(Planner(lambda *_: []), answers()).run(ticket())
    await asyncio.wait_for(ended.wait(), HANG_S / 2)


async def test_a_trace_that_is_there_is_not_written_again_and_its_saved_form_is_the_same_trace() -> None:
    planner = plans(*["4 + 1 </reasoning>"] * 2)
    first = ticket()
    group = await rollout(planner, answers()).run(first)
    assert first.written.is_set() and len(planner.requests) == 2
    kept = json.loads(json.dumps(saved_traces([first, ticket()])))
    state = {"in_flight": [(0, 0, PROBLEM.id)], "traces": kept, "ledger": {"next_serial": 1}}
    (again,) = saved_tickets(state, {PROBLEM.id: PROBLEM}.__getitem__)
    assert again.traces == first.traces and list(kept) == ["0"]
    resumed = await rollout(planner, answers()).run(again)
    assert len(planner.requests) == 2
    assert [t.trace for t in resumed.trajectories] == [t.trace for t in group.trajectories]


async def test_a_trace_that_fails_is_owed_no_longer() -> None:
    class Broken(FakeGenerator):
        async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
            raise InfrastructureError("planner", "gone")

    owed = ticket()
    with pytest.raises(GroupFailed):
        await rollout(Broken(lambda *_: []), answers()).run(owed)
    assert owed.written.is_set() and saved_traces([owed]) == {}
