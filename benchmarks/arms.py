"""What the executor-grounded reward costs: a step of ``reward=tracelift`` against one of ``reward=exec_only``.

    python -m benchmarks.arms [--rounds 6] [--within SECONDS] [--model DIR]

Both arms take turns on the same actors of one run, with the same problems and as many traces a step: rollout, update
and weight broadcast. Without ``--model`` it is the demo; with it that model is planner and executor
(``benchmarks.systems``).
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable
from dataclasses import replace
from time import monotonic

from actors.system import RaySystem
from benchmarks.figures import Figure, deliver, parser, spread, turns
from benchmarks.systems import configured, running, title
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.rl.assembly import build_rollout, build_sampler
from tracelift_ray.rl.batch import train_batch
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.preparation import Preparation
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.rl.weights import broadcast_weights

ARMS = ("tracelift", "exec_only")
#: Of the demo, and of a model whose generation and training are real work.
GOALS = {True: 1.3, False: 1.15}


class Arm:
    """The stream of one arm over a system that both share."""

    def __init__(self, run: RunConfig, system: RaySystem, prepared: Preparation, arm: str) -> None:
        self.run = replace(run, reward=replace(run.reward, arm=arm))
        self.system = system
        self.rollout = build_rollout(self.run, PlannerExecutorSystem(system.pools, prepared.settings))
        self.sampler = build_sampler(run, prepared.train, prepared.mixture)

    async def step(self, version: int) -> tuple[int, float, float]:
        """The version after one step from ``version``, the seconds that it took, and those of its rollout."""
        run, learner = self.run, self.system.learner
        assert learner is not None
        began = monotonic()
        # A scheduler of this step alone: one that goes on would run the next groups while the other arm is measured.
        scheduler = Scheduler(self.rollout, self.sampler, run.stream, run.algorithm)
        batch = await scheduler.next_batch(version)
        rolled = monotonic() - began
        # Groups without signal are trained on, too, so that the learner's part is the same for both arms.
        training = train_batch((*batch.groups, *batch.zero_signal), train_overlong=True)
        await learner.update(training)
        served = await broadcast_weights(learner, self.system.planner, self.system.canary)
        return served.version, monotonic() - began, rolled


async def measure(model: str, rounds: Iterable[int]) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the steps of each arm, and of their rollouts, from round 1 on."""
    times: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    with configured(model) as run:
        async with running(run, trains=True) as (system, prepared):
            assert system.learner is not None
            planner_prompts = prepared.settings.planner_prompts
            system.canary = Canary.of(run, planner_prompts.planner(prepared.train[0]))
            version = (await broadcast_weights(system.learner, system.planner, system.canary)).version
            arms = {arm: Arm(run, system, prepared, arm) for arm in ARMS}
            for number in rounds:
                # All that a step of the other arm does is part of the first arm's, so that warms up both.
                for arm in ARMS[:1] if number == 0 else ARMS if number % 2 else reversed(ARMS):
                    version, took, rolled = await arms[arm].step(version)
                    print(f"round {number}: {arm} {took:.2f} s, rollout {rolled:.2f} s", flush=True)
                    if number:
                        times[arm].append((took, rolled))
    return times


def figures(model: str, rounds: Iterable[int]) -> list[Figure]:
    """The ratio of the steps, and the step itself."""
    times = asyncio.run(measure(model, rounds))
    medians = {arm: statistics.median(step for step, _ in times[arm]) for arm in ARMS}
    pairs = [ours / plain for (ours, _), (plain, _) in zip(*(times[arm] for arm in ARMS), strict=True)]
    rollouts = {arm: statistics.median(rollout for _, rollout in times[arm]) for arm in ARMS}
    name, apart = title(model), f"pairs {spread(pairs)}" if len(pairs) > 1 else spread(pairs)
    note = f"rollout {rollouts[ARMS[0]]:.2f} s and {rollouts[ARMS[1]]:.2f} s"
    ratio = medians[ARMS[0]] / medians[ARMS[1]]
    return [
        Figure(f"{name}, step of tracelift / exec_only", ratio, "ratio", "lower", GOALS[not model], apart, note),
        Figure(f"{name}, step of tracelift", medians[ARMS[0]], "s", "lower"),
    ]


def main() -> None:
    """Measure and print."""
    command = parser(__doc__, rounds=6)
    command.add_argument("--model", default="", help="directory of a model; empty: the demo's")
    options = command.parse_args()
    deliver(options, figures(options.model, turns(options)))


if __name__ == "__main__":
    main()
