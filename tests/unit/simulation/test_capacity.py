"""The model of a run's speed: exact where arithmetic says what must come out."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import forecast
from tracelift_ray.simulation.engines import EngineLoop, Engines, InTurn, Speed
from tracelift_ray.simulation.splits import SHARERS, Run, bounds, ranked, splits
from tracelift_ray.simulation.workload import Lengths, Seconds, Split, Workload

EVEN = Lengths(mean=100, spread=0.0, most=1000)
ENGINE = Speed(alone_s=0.01, beside_s=0.0, slots=64)
WORK = Workload(
    EVEN, EVEN, samples=0, baseline=0, planner=ENGINE, executor=ENGINE, score_s=Seconds(0.0), verify_s=Seconds(0.0),
    verifiers=1, train_token_s=0.001, update_s=0.0, prompt=0, broadcast_s=Seconds(0.5),
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


def test_members_that_work_in_turn_begin_in_the_order_in_which_they_were_asked():
    loop, ended, counted = EngineLoop(), {}, []
    pool = InTurn(loop, 2)

    async def work():
        for index, seconds in enumerate((3.0, 1.0, 1.0, 4.0)):
            pool.take(seconds, lambda index=index: ended.update({index: loop.time()}))
        loop.call_later(1.5, lambda: counted.append((pool.made, pool.queued_s)))
        loop.call_later(10.0, loop.stop)

    loop.create_task(work())
    loop.run_forever()
    # The third waits for the second, the fourth for the third.
    assert ended == pytest.approx({0: 3.0, 1: 1.0, 2: 2.0, 3: 6.0})
    assert counted == [(pytest.approx(3.0), pytest.approx(1.0))]
    assert (pool.made, pool.queued_s) == (pytest.approx(9.0), pytest.approx(3.0))


def test_seconds_are_drawn_from_what_was_measured_or_have_their_mean():
    random = Random(0)
    assert {Seconds(9.0, 0.5, (1.0, 4.0)).draw(random) for _ in range(50)} == {1.0, 4.0}
    assert Seconds(0.2, 0.9).draw(random, 20_000) == pytest.approx(0.2 * 20_000, rel=0.05)
    state = random.getstate()
    assert Seconds(0.2).draw(random, 3) == pytest.approx(0.6) and random.getstate() == state
    assert [each.takes_time for each in (Seconds(0.0), Seconds(0.1), Seconds(0.0, 0.0, (0.1,)))] == [False, True, True]


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
    work = replace(WORK, samples=4, baseline=4, score_s=Seconds(0.25))
    found = forecast(work, Split(2, 2, 4, 2), ALGORITHM, SYNCHRONOUS, steps=3)
    # 16 traces are scored by 4 members in turn, which takes as long as the executor needs.
    assert found.step_s == pytest.approx(1.0 + 1.0 + 0.8 + 0.5)


def test_the_figures_of_an_uneven_run_are_those_of_the_first_simulation():
    """Recorded before engines, members in turn and groups were made faster."""
    engine = Speed(alone_s=0.01, beside_s=0.0001, slots=8)
    work = Workload(
        Lengths(900, 1.1, 28_000), Lengths(300, 0.8, 2048), samples=4, baseline=3, planner=engine, executor=engine,
        score_s=Seconds(0.05), verify_s=Seconds(0.0), verifiers=64, train_token_s=0.00077, update_s=0.3, prompt=200,
        broadcast_s=Seconds(5.0),
    )  # fmt: skip
    algorithm = replace(RUN.algorithm, groups_per_step=16, group_size=8)
    found = forecast(work, Split(4, 2, 1, 1), algorithm, ASYNCHRONOUS, 4)
    assert (found.step_s, found.simulated_s) == pytest.approx((157.42583, 741.35632), rel=1e-9)
    assert (found.staleness, found.dropped) == (pytest.approx(0.9583333333), 1)
    assert found.busy == pytest.approx(
        {
            "planner": 0.247413947777,
            "executor": 0.764723682363,
            "reasoning_rm": 0.041501025171,
            "learner": 0.737764338504,
        }
    )
    assert found.waiting == pytest.approx(
        {
            "planner": 8.12126341232,
            "executor": 38.5875111185,
            "reasoning_rm": 0.00437856989542,
            "learner": 9.26907316713,
        }
    )


def test_equal_pools_see_equal_runs():
    uneven = replace(WORK, traces=Lengths(mean=100, spread=1.0, most=1000))
    first, second = (forecast(uneven, Split(1, 1, 1, 1), ALGORITHM, ASYNCHRONOUS, 5) for _ in range(2))
    assert first == second


def test_verifiers_work_in_turn_once_artifacts_are_there():
    work = replace(WORK, samples=2, verify_s=Seconds(0.1), verifiers=4)
    found = forecast(work, Split(2, 2, 1, 2), ALGORITHM, SYNCHRONOUS, steps=3)
    # 16 traces of 2 artifacts on 4 cores.
    assert found.step_s == pytest.approx(1.0 + 1.0 + 0.8 + 0.8 + 0.5)
    assert found.waiting["verifier"] == pytest.approx(4 * (0.2 + 0.4 + 0.6) / found.step_s)


def test_latencies_may_be_measured_samples():
    work = replace(WORK, samples=2, verify_s=Seconds(0.1), score_s=Seconds(0.2), verifiers=4)
    samples = replace(work, verify_s=Seconds(0, 0, (0.1,) * 3), score_s=Seconds(0, 0, (0.2,)))
    first, second = (forecast(each, Split(2, 2, 1, 2), ALGORITHM, ASYNCHRONOUS, 4) for each in (work, samples))
    assert second.step_s == pytest.approx(first.step_s) and second.busy == pytest.approx(first.busy)


def test_each_broadcast_is_drawn():
    uneven = replace(WORK, broadcast_s=Seconds(0, 0, (0.0, 100.0)))
    found = forecast(uneven, Split(2, 1, 1, 2), ALGORITHM, SYNCHRONOUS, steps=41)
    late = (found.step_s - 1.8) * 40 / 100
    assert late == pytest.approx(round(late)) and 10 < late < 30


def test_late_verdicts_hold_up_a_step_more_than_their_mean_says():
    even, uneven = (
        forecast(replace(WORK, samples=1, verify_s=time, verifiers=64), Split(2, 2, 1, 2), ALGORITHM, SYNCHRONOUS, 20)
        for time in (Seconds(1.0), Seconds(1.0, 1.0))
    )
    assert even.step_s == pytest.approx(1.0 + 1.0 + 1.0 + 0.8 + 0.5)
    assert uneven.step_s > even.step_s + 1


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
    heavy = replace(WORK, samples=1, score_s=Seconds(0.01), train_token_s=0.01)
    found = ranked(Run(heavy, ALGORITHM, SYNCHRONOUS, 2), 24)
    assert found[0][0].learner > 15  # five eighths
    assert all(sum(getattr(split, name) for name in SHARERS) == 24 for split, _ in found)


def test_what_bounds_a_split_is_what_its_doubling_shortens_most():
    run = Run(replace(WORK, train_token_s=0.01, score_s=Seconds(0.3)), ALGORITHM, SYNCHRONOUS, 2)
    # Of 1 + 4.8 + 8 + 0.5 s the learner has 8 and the RM 4.8; one more planner engine makes no request faster.
    first, second = bounds(run, Split(1, 1, 1, 2))
    assert (first.name, second.name) == ("learner", "reasoning_rm")
    assert first.gain == pytest.approx(4 / 14.3) and second.gain == pytest.approx(2.4 / 10.3)


def test_verifiers_can_be_what_bounds_a_split():
    run = Run(replace(WORK, samples=1, verify_s=Seconds(1.0), verifiers=2), ALGORITHM, SYNCHRONOUS, 2)
    # Of 1 + 1 + 8 + 0.8 + 0.5 s the two cores that verify have 8, then 4.
    assert [(each.name, each.gain) for each in bounds(run, Split(2, 2, 1, 2))] == [
        ("verifier", pytest.approx(4 / 11.3)), ("verifier", pytest.approx(2 / 7.3))
    ]  # fmt: skip


def test_nothing_bounds_a_split_that_waits_for_one_long_trace():
    assert bounds(Run(replace(WORK, train_token_s=1e-9), ALGORITHM, SYNCHRONOUS, 2), Split(8, 1, 1, 8)) == []


def test_thousands_of_engines_are_simulated_exactly():
    algorithm = replace(ALGORITHM, groups_per_step=600, group_size=4)
    found = forecast(WORK, Split(2400, 1, 1, 100), algorithm, SYNCHRONOUS, steps=2)
    assert found.step_s == pytest.approx(1.0 + 2.4 + 0.5)


def test_ten_thousand_workers_are_planned():
    heavy = replace(WORK, samples=1, score_s=Seconds(0.5), train_token_s=0.5)
    run = Run(heavy, replace(ALGORITHM, groups_per_step=16), SYNCHRONOUS, 2)
    found = ranked(run, 10_000)
    assert all(sum(getattr(split, name) for name in SHARERS) == 10_000 for split, _ in found)
    fastest = found[0][0]
    assert fastest.learner > 8_500  # 64 traces need no more than so many members of a pool
    assert [each.name for each in bounds(run, fastest)][:1] == ["learner"]


def test_the_command_prints_the_fastest_and_what_bounds_it(tmp_path):
    shape = ["gpus=4", "groups_per_step=2", "group_size=2", "steps=2", "max_staleness=1"]
    shape += ["workload.broadcast_s.mean=0.5", "workload.traces.mean=300"]
    command = [sys.executable, "-m", "launch.capacity", *shape, f"picture={tmp_path / 'splits.png'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "planner 1 executor 1 RM 1 learner 1: step " in done.stdout
    assert "s of training in " in done.stdout
    assert "bound" in done.stdout.splitlines()[-2]
    assert (tmp_path / "splits.png").read_bytes().startswith(b"\x89PNG")
    refused = subprocess.run([*command, f"run={tmp_path}"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and str(tmp_path) in refused.stderr
