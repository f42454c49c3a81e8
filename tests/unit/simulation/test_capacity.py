"""The model of a run's speed: exact where arithmetic says what must come out."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import Lengths, Split, Workload, forecast
from tracelift_ray.simulation.engines import EngineLoop, Engines, Speed
from tracelift_ray.simulation.splits import SHARERS, Run, bounds, ranked, splits

EVEN = Lengths(mean=100, spread=0.0, most=1000)
ENGINE = Speed(alone_s=0.01, beside_s=0.0, slots=64)
WORK = Workload(
    EVEN, EVEN, samples=0, baseline=0, planner=ENGINE, executor=ENGINE, score_s=0.0, verify_s=0.0, verifiers=1,
    train_token_s=0.001, update_s=0.0, prompt=0, broadcast_s=0.5,
)  # fmt: skip
RUN = to_run_config(composed("config", ["experiment=quickstart"]))
ALGORITHM = replace(RUN.algorithm, groups_per_step=4, group_size=4)
SYNCHRONOUS = replace(RUN.stream, max_staleness=0)
ASYNCHRONOUS = replace(RUN.stream, max_staleness=1)


def generated(members, speed, requests, pauses=()):
    """The pool, and when each of ``requests``, tokens all asked for at once, was done; by index."""
    loop = EngineLoop()
    engines, ended = Engines(loop, members, speed), {}

    async def work():
        everything = loop.create_future()

        def done(index):
            ended[index] = loop.time()
            if len(ended) == len(requests):
                everything.set_result(None)

        for when, paused in pauses:
            loop.call_later(when, engines.pause, paused)
        for index, tokens in enumerate(requests):
            engines.generate(tokens, 1, partial(done, index))
        await everything

    loop.run_until_complete(work())
    return engines, ended


def test_lengths_have_their_mean_and_their_limit():
    random, lengths = Random(0), Lengths(mean=500, spread=0.8, most=4000)
    drawn = [lengths.draw(random) for _ in range(4000)]
    assert sum(drawn) / len(drawn) == pytest.approx(500, rel=0.06)
    assert max(drawn) <= 4000


def test_an_engine_divides_its_speed():
    engines, ended = generated(1, Speed(alone_s=0.01, beside_s=0.01, slots=8), [100, 100, 200])
    # Three at 0.03 s a token until 100 tokens, then one at 0.01 s for 100 more.
    assert ended == pytest.approx({0: 3.0, 1: 3.0, 2: 4.0})
    assert engines.made == pytest.approx(400)


def test_requests_beyond_the_slots_queue_in_their_order():
    engines, ended = generated(1, Speed(alone_s=0.01, beside_s=0.0, slots=2), [100] * 5)
    assert ended == pytest.approx({0: 1.0, 1: 1.0, 2: 2.0, 3: 2.0, 4: 3.0})
    assert engines.queued_s == pytest.approx(1.0 + 1.0 + 2.0)


def test_a_request_goes_to_the_engine_that_holds_the_fewest():
    _, ended = generated(2, Speed(alone_s=0.01, beside_s=0.01, slots=8), [100, 300, 100, 300])
    # Each engine has one short and one long request: the third went where the first was, since both held one.
    assert ended == pytest.approx({0: 2.0, 2: 2.0, 1: 6.0, 3: 6.0})


def test_a_pause_delays_what_runs():
    _, ended = generated(1, ENGINE, [100], pauses=[(0.5, True), (2.5, False)])
    assert ended == pytest.approx({0: 3.0})


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
    assert max(found.busy, key=found.busy.get) == "learner"


def test_executor_and_reward_model_work_beside_each_other():
    work = replace(WORK, samples=4, baseline=4, score_s=0.25)
    found = forecast(work, Split(2, 2, 4, 2), ALGORITHM, SYNCHRONOUS, steps=3)
    # 16 traces are scored by 4 members in turn, which takes as long as the executor needs.
    assert found.step_s == pytest.approx(1.0 + 1.0 + 0.8 + 0.5)


def test_equal_pools_see_equal_runs():
    uneven = replace(WORK, traces=Lengths(mean=100, spread=1.0, most=1000))
    first, second = (forecast(uneven, Split(1, 1, 1, 1), ALGORITHM, ASYNCHRONOUS, 5) for _ in range(2))
    assert first == second


def test_verifiers_work_in_turn_once_artifacts_are_there():
    work = replace(WORK, samples=2, verify_s=0.1, verifiers=4)
    found = forecast(work, Split(2, 2, 1, 2), ALGORITHM, SYNCHRONOUS, steps=3)
    # 16 traces of 2 artifacts on 4 cores.
    assert found.step_s == pytest.approx(1.0 + 1.0 + 0.8 + 0.8 + 0.5)
    assert found.waiting["verifier"] == pytest.approx(4 * (0.2 + 0.4 + 0.6) / found.step_s)


def test_what_is_fixed_of_an_update_does_not_divide():
    slow, fast = (
        forecast(replace(WORK, update_s=2.0), Split(2, 1, 1, gpus), ALGORITHM, SYNCHRONOUS, 3).step_s for gpus in (2, 4)
    )
    assert slow - fast == pytest.approx(0.4)


@pytest.mark.parametrize("gpus", [4, 7, 8, 30, 64])
def test_every_split_uses_all_gpus_and_leaves_nobody_out(gpus):
    found = list(splits(gpus))
    assert len(set(found)) == len(found)
    for split in found:
        shares = (split.planner, split.executor, split.reasoning_rm, split.learner)
        assert sum(shares) == gpus and min(shares) >= 1


def test_the_fastest_split_gives_most_to_what_has_most_to_do_and_moves_single_gpus():
    heavy = replace(WORK, samples=1, score_s=0.01, train_token_s=0.01)
    found = ranked(Run(heavy, ALGORITHM, SYNCHRONOUS, 2), 24)
    assert found[0][0].learner > 15  # five eighths
    assert all(sum(getattr(split, name) for name in SHARERS) == 24 for split, _ in found)


def test_what_bounds_a_split_is_what_its_doubling_shortens_most():
    run = Run(replace(WORK, train_token_s=0.01, score_s=0.3), ALGORITHM, SYNCHRONOUS, 2)
    # Of 1 + 4.8 + 8 + 0.5 s the learner has 8 and the RM 4.8; one more planner engine makes no request faster.
    first, second = bounds(run, Split(1, 1, 1, 2))
    assert (first.name, second.name) == ("learner", "reasoning_rm")
    assert first.gain == pytest.approx(4 / 14.3) and second.gain == pytest.approx(2.4 / 10.3)


def test_nothing_bounds_a_split_that_waits_for_one_long_trace():
    assert bounds(Run(replace(WORK, train_token_s=1e-9), ALGORITHM, SYNCHRONOUS, 2), Split(8, 1, 1, 8)) == []


def test_thousands_of_engines_are_simulated_exactly():
    algorithm = replace(ALGORITHM, groups_per_step=600, group_size=4)
    found = forecast(WORK, Split(2400, 1, 1, 100), algorithm, SYNCHRONOUS, steps=2)
    assert found.step_s == pytest.approx(1.0 + 2.4 + 0.5)


def test_the_command_prints_the_fastest_and_what_bounds_it(tmp_path):
    shape = ["gpus=4", "groups_per_step=2", "group_size=2", "steps=2", "workload.broadcast_s=0.5"]
    command = [sys.executable, "-m", "launch.capacity", *shape, f"picture={tmp_path / 'splits.png'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "planner 1 executor 1 RM 1 learner 1: step " in done.stdout
    assert "s of training in " in done.stdout
    assert "bound" in done.stdout.splitlines()[-2]
    assert (tmp_path / "splits.png").read_bytes().startswith(b"\x89PNG")
