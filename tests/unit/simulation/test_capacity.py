"""The model of a run's speed: exact where arithmetic says what must come out."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest

from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import Lengths, Split, Workload, forecast
from tracelift_ray.simulation.clock import SimulatedLoop
from tracelift_ray.simulation.engines import Engines, Speed
from tracelift_ray.simulation.splits import ranked, splits

EVEN = Lengths(mean=100, spread=0.0, most=1000)
ENGINE = Speed(alone_s=0.01, beside_s=0.0, slots=64)
WORK = Workload(
    EVEN, EVEN, samples=0, baseline=0, planner=ENGINE, executor=ENGINE, score_s=0.0, train_token_s=0.001, prompt=0,
    broadcast_s=0.5,
)  # fmt: skip
RUN = to_run_config(composed("config", ["experiment=quickstart"]))
ALGORITHM = replace(RUN.algorithm, groups_per_step=4, group_size=4)
SYNCHRONOUS = replace(RUN.stream, max_staleness=0)
ASYNCHRONOUS = replace(RUN.stream, max_staleness=1)


def simulated(work):
    """Virtual seconds that a coroutine function takes."""
    loop = SimulatedLoop("test", shuffled=False)
    loop.run_until_complete(work())
    return loop.time()


def test_lengths_have_their_mean_and_their_limit():
    random, lengths = Random(0), Lengths(mean=500, spread=0.8, most=4000)
    drawn = [lengths.draw(random) for _ in range(4000)]
    assert sum(drawn) / len(drawn) == pytest.approx(500, rel=0.06)
    assert max(drawn) <= 4000


def test_an_engine_divides_its_speed():
    async def work():
        engines = Engines(1, Speed(alone_s=0.01, beside_s=0.01, slots=8))
        await asyncio.gather(engines.generate(100), engines.generate(100), engines.generate(200))
        # Three at 0.03 s a token until 100 tokens, then one at 0.01 s for 100 more.
        assert engines.worked_s == pytest.approx(3 * 3.0 + 1.0)

    assert simulated(work) == pytest.approx(3.0 + 1.0)


def test_requests_beyond_the_slots_queue_in_their_order():
    async def work():
        engines = Engines(1, Speed(alone_s=0.01, beside_s=0.0, slots=2))
        ended = []

        async def one(name):
            await engines.generate(100)
            ended.append(name)

        await asyncio.gather(*(one(name) for name in range(5)))
        assert ended == [0, 1, 2, 3, 4]

    assert simulated(work) == pytest.approx(3.0)


def test_a_pause_delays_what_runs():
    async def work():
        engines = Engines(1, ENGINE)
        asyncio.get_running_loop().call_later(0.5, engines.pause, True)
        asyncio.get_running_loop().call_later(2.5, engines.pause, False)
        await engines.generate(100)

    assert simulated(work) == pytest.approx(3.0)


def test_a_synchronous_step_is_the_sum_of_its_phases():
    found = forecast(WORK, Split(2, 1, 1, 2), ALGORITHM, SYNCHRONOUS, steps=4)
    # 100 tokens at 0.01 s, 16 traces of 100 tokens on 2 GPUs, and the broadcast.
    assert found.step_s == pytest.approx(1.0 + 0.8 + 0.5)
    assert found.staleness == 0
    assert found.busy["learner"] == pytest.approx(0.8 / 2.3)


def test_an_asynchronous_step_is_its_longest_phase_and_the_broadcast():
    found = forecast(WORK, Split(2, 1, 1, 1), ALGORITHM, ASYNCHRONOUS, steps=8)
    assert found.step_s == pytest.approx(1.6 + 0.5, rel=0.01)
    assert found.staleness == pytest.approx(1.0, abs=0.2)
    assert found.bottleneck == "learner"


def test_executor_and_reward_model_work_beside_each_other():
    work = replace(WORK, samples=4, baseline=4, score_s=0.25)
    found = forecast(work, Split(2, 2, 4, 2), ALGORITHM, SYNCHRONOUS, steps=3)
    # 16 traces are scored by 4 members in turn, which takes as long as the executor needs.
    assert found.step_s == pytest.approx(1.0 + 1.0 + 0.8 + 0.5)


def test_equal_pools_see_equal_runs():
    uneven = replace(WORK, traces=Lengths(mean=100, spread=1.0, most=1000))
    first, second = (forecast(uneven, Split(1, 1, 1, 1), ALGORITHM, ASYNCHRONOUS, 5) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("gpus", [4, 7, 8, 30, 64])
def test_every_split_uses_all_gpus_and_leaves_nobody_out(gpus):
    found = list(splits(gpus))
    assert len(set(found)) == len(found)
    for split in found:
        shares = (split.planner, split.executor, split.reasoning_rm, split.learner)
        assert sum(shares) == gpus and min(shares) >= 1


def test_the_fastest_split_gives_most_to_what_has_most_to_do():
    heavy = replace(WORK, samples=1, score_s=0.01, train_token_s=0.01)
    split, best = ranked(heavy, 8, ALGORITHM, SYNCHRONOUS, steps=2)[0]
    assert split.learner == 5 and best.bottleneck == "learner"


def test_the_command_prints_the_fastest_and_what_bounds_it():
    arguments = ["gpus=4", "groups_per_step=2", "group_size=2", "steps=2", "workload.broadcast_s=0.5"]
    command = [sys.executable, "-m", "launch.capacity", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "planner 1 executor 1 RM 1 learner 1: step " in done.stdout
    assert "bound the fastest" in done.stdout.splitlines()[-1]
