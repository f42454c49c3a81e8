"""Tokens per second of a rollout's traces against vLLM's own offline generation, on the same prompts and sampling.

    python -m benchmarks.generation [--rounds 5] [--within SECONDS] [--model DIR]

Ours goes the whole way: prompts rendered, calls through a pool to a Ray actor, traces read. The other side hands the
same token ids and parameters to ``LLM.generate`` at once. Both engines are up together, with the same arguments, and
take turns. How many of the completions are the same to the token is printed, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from actors.placement import Placement
from actors.planner import RayPlannerPool
from actors.runtime import connected
from benchmarks.figures import Figure, deliver, median, parser, turns
from benchmarks.systems import configured, title
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines.stops import special_stops
from tracelift_ray.engines.vllm_arguments import engine_arguments, set_environment, to_vllm
from tracelift_ray.planning.resources import total_cpus
from tracelift_ray.rl.preparation import Preparation, prepare
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools
from tracelift_ray.types import Completion, Problem, Prompt, SamplingParams

GOAL = 0.9


class Recorder:
    """A planner pool that keeps what it was asked, and what came back."""

    def __init__(self, pool: RayPlannerPool) -> None:
        self.pool = pool
        self.asked: list[tuple[Prompt, SamplingParams, Completion]] = []

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        completions = await self.pool.generate(prompt, params)
        self.asked.append((prompt, params, completions[0]))
        return completions


@dataclass(frozen=True)
class Round:
    """Tokens per second of both sides, and the share of completions that are the same."""

    ours: float
    bare: float
    same: float


async def one_round(
    system: PlannerExecutorSystem, recorder: Recorder, llm: Any, problems: list[Problem], size: int, epoch: int
) -> Round:
    """The same traces from both sides."""
    recorder.asked.clear()
    began = monotonic()
    await asyncio.gather(*(system.trace(each, i, (each.id, epoch)) for each in problems for i in range(size)))
    took = monotonic() - began
    written = sum(len(completion.token_ids) for _, _, completion in recorder.asked)
    tokenizer = llm.get_tokenizer()
    began = monotonic()
    parameters = [to_vllm(params, tuple(special_stops(tokenizer, params.stop))) for _, params, _ in recorder.asked]
    prompts = [{"prompt_token_ids": list(prompt.token_ids)} for prompt, _, _ in recorder.asked]
    answers = llm.generate(prompts, parameters, use_tqdm=False)
    bare_took = monotonic() - began
    theirs = [tuple(answer.outputs[0].token_ids) for answer in answers]
    same = sum(ids == each.token_ids for ids, (_, _, each) in zip(theirs, recorder.asked, strict=True))
    return Round(written / took, sum(map(len, theirs)) / bare_took, same / len(theirs))


async def measure(run: RunConfig, prepared: Preparation, llm: Any, rounds: Iterable[int]) -> list[Round]:
    """From round 1 on; round 0 warms up."""
    pool = RayPlannerPool(run.planner, run.stream, Placement(), run.seed)
    recorder, groups = Recorder(pool), run.algorithm.groups_per_step
    await pool.pool.start()
    try:
        unused: Any = None
        system = PlannerExecutorSystem(SystemPools(recorder, unused, unused, None), prepared.settings)
        found = []
        for number in rounds:
            chosen = list(prepared.train[number * groups : (number + 1) * groups])
            found.append(await one_round(system, recorder, llm, chosen, run.algorithm.group_size, number))
            print(f"round {number}: {found[-1]}", flush=True)
    finally:
        await pool.pool.close()
    return found[1:]


def figures(model: str, rounds: Iterable[int]) -> list[Figure]:
    """The ratio of the rates, and ours."""
    with configured(model, ["planner.engine.kind=vllm"]) as configuration:
        # One thread for either engine: the pool's actor has one CPU.
        set_environment(configuration.planner.engine)
        from vllm import LLM

        run = replace(configuration, algorithm=replace(configuration.algorithm, groups_per_step=24, group_size=8))
        if model:
            run = replace(run, algorithm=replace(run.algorithm, groups_per_step=2))
        arguments = engine_arguments(run.planner.engine, run.planner.model, transfer=None, seed=run.seed, sleeps=False)
        prepared, llm = prepare(run), LLM(**arguments)
        with connected(run.cluster, total_cpus(run)):
            found = asyncio.run(measure(run, prepared, llm, rounds))
    name = title(model)
    note = f"{min(each.same for each in found):.0%} of the completions or more are the same to the token"
    ratios = [each.ours / each.bare for each in found]
    return [
        median(f"{name}, rollout tokens/s / bare vLLM", ratios, "ratio", "higher", goal=GOAL, note=note),
        median(f"{name}, rollout tokens/s", [each.ours for each in found], "tokens/s", "higher"),
    ]


def main() -> None:
    """Measure and print."""
    command = parser(__doc__, rounds=5)
    command.add_argument("--model", default="", help="directory of a model; empty: the demo's planner")
    options = command.parse_args()
    deliver(options, figures(options.model, turns(options)))


if __name__ == "__main__":
    main()
