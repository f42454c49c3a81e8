"""Pools of real Ray actors: who gets work, what becomes of a member that dies, hangs or fails, and placement."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray

from actors.executor import RayExecutorPool
from actors.placement import Placement
from actors.planner import RayPlannerPool
from actors.pool import PoolActor, actor_pool, member_options, remote_class
from actors.runtime import live_nodes
from tests.configs import run_config
from tests.hang import HANG_S
from tests.integration.workers import Worker
from tests.tiny import engine_config, make_tiny_llama
from tests.unit.rl.fakes import FakeLearner
from tracelift_ray.config.models import PoolConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.placement import Assignment, place
from tracelift_ray.planning.resources import PoolDemand
from tracelift_ray.pools.pool import Member, Pool
from tracelift_ray.rl.weights import Broadcast, broadcast_weights
from tracelift_ray.transfer.manifest import Held, WeightManifest
from tracelift_ray.types import Prompt, SamplingParams, TrainBatch

pytestmark = pytest.mark.usefixtures("local_ray")


def pool_of(workers: int, *, retries: int = 1, deadline_s: float = 600.0, actor: type[PoolActor] = Worker) -> Pool:
    config = PoolConfig(workers, 0.5, 0.0, 8, deadline_s, retries)
    remote = remote_class(actor)
    return actor_pool(
        "worker",
        config,
        HANG_S,
        lambda index, restart: remote.options(**member_options(config, Placement(), "worker", index)).remote(index),
    )


async def test_ray_shows_a_member_by_pool_and_place_and_its_successor_by_its_number_too() -> None:
    pool = pool_of(1)
    await pool.start()
    before = set(ray.util.list_named_actors())
    assert any(name.startswith("worker[0]") for name in before)
    os.kill(await pool.call("pid"), signal.SIGKILL)
    assert await pool.call("who") == 0
    (after,) = set(ray.util.list_named_actors()) - before
    assert after.startswith("worker[0], start ")
    await pool.close()


async def test_work_goes_to_the_least_busy_member() -> None:
    pool = pool_of(2)
    await pool.start()
    slow = [asyncio.create_task(pool.call("who", 0.5)) for _ in range(4)]
    await asyncio.sleep(0.1)
    assert sorted(member.busy for member in pool.members) == [2, 2]
    assert sorted(await asyncio.gather(*slow)) == [0, 0, 1, 1]
    await pool.close()


async def test_an_infrastructure_error_is_tried_on_another_member_then_raised_with_its_cause() -> None:
    pool = pool_of(2)
    await pool.start()
    assert [await pool.call("fail_on", 0) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(InfrastructureError, match="worker: no room for the cache"):
        await pool.call("fail")
    await pool.close()


async def test_an_error_that_is_no_infrastructure_error_is_not_retried() -> None:
    pool = pool_of(2)
    await pool.start()
    with pytest.raises(KeyError, match="a bug"):
        await pool.call("bug")
    await pool.close()


async def test_a_late_call_is_cancelled_in_the_actor_and_named_with_its_deadline() -> None:
    pool = pool_of(1, retries=0, deadline_s=0.3)
    await pool.start()
    with pytest.raises(InfrastructureError, match=r"member 0 did not finish sleep in 0.3 s; it is healthy"):
        await pool.call("sleep", 600)
    ends = time.monotonic() + HANG_S
    while await pool.control(pool.members[0], HANG_S, "cancelled") != ["sleep"] and time.monotonic() < ends:
        await asyncio.sleep(0.05)
    assert time.monotonic() < ends and pool.restarts == 0
    await pool.close()


async def test_a_member_that_dies_is_replaced_and_prepared_while_another_takes_its_work() -> None:
    pool = pool_of(2)
    prepared: list[int] = []

    async def prepare(member: Member) -> None:
        prepared.append(member.index)

    pool.prepare = prepare
    await pool.start()
    assert await pool.call("die_on", 0) == 1
    ends = time.monotonic() + HANG_S
    while len(pool.members) < 2 and time.monotonic() < ends:
        await asyncio.sleep(0.1)
    assert prepared == [0] and pool.restarts == 1
    assert sorted([await asyncio.gather(*(pool.call("who", 0.2) for _ in range(2)))][0]) == [0, 1]
    await pool.close()


async def test_a_member_that_says_it_is_dead_is_replaced() -> None:
    pool = pool_of(1, retries=0)
    await pool.start()
    pid = await pool.call("pid")
    with pytest.raises(InfrastructureError, match="the engine core is gone"):
        await pool.call("dead_on", 0)
    assert await pool.call("pid") != pid
    await pool.close()


async def test_a_member_that_does_not_answer_its_health_check_is_replaced() -> None:
    pool = pool_of(1, retries=0, deadline_s=1.0)
    pool.limits = replace(pool.limits, health_s=1.0)
    await pool.start()
    pid = await pool.call("pid")
    with pytest.raises(InfrastructureError, match="did not finish block in 1 s; it did not answer its health check"):
        await pool.call("block", 600)
    assert await pool.call("who") == 0 and pool.restarts == 1
    assert await pool.call("pid") != pid
    await pool.close()


async def test_a_member_that_is_stopped_is_ended_and_gives_its_place_to_its_replacement() -> None:
    pool = pool_of(1, retries=0, deadline_s=1.0)
    pool.limits = replace(pool.limits, health_s=1.0)
    await pool.start()
    pid = await pool.call("pid")
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(InfrastructureError, match="it did not answer its health check"):
        await pool.call("pid")
    pool.limits = replace(pool.limits, deadline_s=HANG_S)
    assert await pool.call("pid") != pid and not psutil.pid_exists(pid)
    await pool.close()


async def test_a_control_call_passes_the_work_that_waits() -> None:
    """Forty calls of a second each, one at a time, would take it most of a minute."""
    pool = pool_of(1)
    await pool.start()
    work = [asyncio.create_task(pool.call("sleep", 600)) for _ in range(40)]
    while not pool.metrics()["pools/worker/queued"]:
        await asyncio.sleep(0.01)
    assert await asyncio.wait_for(pool.control(pool.members[0], HANG_S, "pid"), HANG_S)
    assert not any(task.done() for task in work)
    for task in work:
        task.cancel()
    await pool.close()


async def test_engines_of_a_pool_and_those_that_replace_them_write_different_samples(tmp_path: Path) -> None:
    run = run_config()
    config = replace(run.executor, engine=engine_config("transformers"), model=make_tiny_llama(tmp_path, seed=0))
    config = replace(config, pool=PoolConfig(2, 0.5, 0.0, 8, HANG_S, 1))
    placement = Placement()
    await placement.reserve(mapped(PoolDemand("executor", "executor.pool", 2, 0.5, 0.0)), timeout_s=HANG_S)
    pool = RayExecutorPool(config, placement, seed=3).pool
    await pool.start()
    params = SamplingParams(max_new_tokens=12)

    async def samples(member: Member) -> set[tuple[int, ...]]:
        answers = [await member.handle.call("generate", Prompt((5, 6, 7), ""), params) for _ in range(4)]
        return {answer[0].token_ids for answer in answers}

    written = [await samples(member) for member in pool.members]
    pool.replace(pool.members[0], "a test")
    while len(pool.members) < 2:
        await asyncio.sleep(0.05)
    written.append(await samples(next(member for member in pool.members if member.name == "0.1")))
    assert len(set.union(*written)) == 12
    await pool.close()
    placement.release()


async def test_a_pool_of_one_waits_for_its_replacement() -> None:
    pool = pool_of(1)
    await pool.start()
    pid = await pool.call("pid")
    os.kill(pid, signal.SIGKILL)
    assert await pool.call("who") == 0
    assert await pool.call("pid") != pid
    await pool.close()
    assert not Path(f"/proc/{pid}").exists()


def mapped(*asked: PoolDemand, share: Sequence[Sequence[str]] = ()) -> list[Assignment]:
    """The map on the cluster of these tests."""
    return list(place(asked, live_nodes(), share))


async def test_what_cannot_be_placed_is_refused_in_time_with_what_was_asked_and_what_is_free() -> None:
    taken, placement = Placement(), Placement()
    await taken.reserve(mapped(PoolDemand("planner", "planner.pool", 1, 5.0, 0.0)), timeout_s=HANG_S)
    with pytest.raises(InfrastructureError, match=r"no room after 1 s.*{'CPU': 6.0}.*free now"):
        await placement.reserve(mapped(PoolDemand("executor", "executor.pool", 3, 2.0, 0.0)), timeout_s=1.0)
    taken.release()


async def test_placed_workers_hold_their_share_and_give_it_back() -> None:
    placement = Placement()
    await placement.reserve(mapped(PoolDemand("worker", "worker.pool", 2, 1.5, 0.0)), timeout_s=HANG_S)
    actor = remote_class(Worker)
    handles = [actor.options(**placement.options("worker", index)).remote(index) for index in range(2)]
    assert await asyncio.gather(*(handle.who.remote() for handle in handles)) == [0, 1]
    assert ray.available_resources()["CPU"] == 5.0
    for handle in handles:
        ray.kill(handle)
    placement.release()


async def test_each_planner_engine_is_on_the_gpu_of_its_learner_rank() -> None:
    """Four declared GPUs, which no process of this test uses."""
    asked = [PoolDemand(name, name, workers, 0.5, 1.0) for name, workers in (("planner", 4), ("learner", 4))]
    placement = Placement()
    await placement.reserve(mapped(*asked, share=[["planner", "learner"]]), timeout_s=HANG_S)
    config = PoolConfig(4, 0.5, 1.0, 8, HANG_S, 0)
    actor = remote_class(Worker)
    seen: dict[str, list[str]] = {}
    for name in ("planner", "learner"):
        handles = [actor.options(**member_options(config, placement, name, each)).remote(each) for each in range(4)]
        seen[name] = await asyncio.gather(*(handle.devices.remote() for handle in handles))
        for handle in handles:
            ray.kill(handle)
    assert seen["planner"] == seen["learner"] and sorted(seen["planner"]) == ["0", "1", "2", "3"]
    placement.release()


async def test_a_planner_lost_in_a_broadcast_is_left_out_and_comes_back_with_the_newest_weights(tmp_path: Path) -> None:
    run = run_config()
    planner = RayPlannerPool(run.planner, run.stream, Placement(), 0)
    planner.pool = pool_of(2)

    class Learner(FakeLearner):
        async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
            return replace(await super().describe_weights(receivers, held), location=str(tmp_path / "kills-0"))

    learner = Learner()

    async def prepare(member: Member) -> None:
        joined.append(await broadcast_weights(learner, planner.only(member)))

    joined: list[Broadcast] = []
    planner.pool.prepare = prepare
    await planner.pool.start()
    assert (await broadcast_weights(learner, planner)).engines == 1
    await learner.update(TrainBatch((), 0, 0))
    await learner.update(TrainBatch((), 0, 0))
    ends = time.monotonic() + HANG_S
    while len(planner.receivers()) < 2 and time.monotonic() < ends:
        await asyncio.sleep(0.1)
    assert [each.version for each in joined] == [2]
    assert (await broadcast_weights(learner, planner)).engines == 2
    await planner.pool.close()


async def test_a_pool_whose_members_cannot_be_restarted_says_why_at_once() -> None:
    pool = pool_of(1, retries=0)

    async def prepare(member: Member) -> None:
        raise InfrastructureError("weights", "no space in /dev/shm")

    pool.prepare = prepare
    await pool.start()
    with pytest.raises(InfrastructureError):
        await pool.call("die_on", 0)
    with pytest.raises(InfrastructureError, match="no member is up or could be started again: no space in /dev/shm"):
        await asyncio.wait_for(pool.call("who"), HANG_S)
    await pool.close()
