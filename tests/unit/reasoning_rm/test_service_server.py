"""The scoring service over real connections: right scores, limits, refusals, metrics, and an orderly end."""

import asyncio
import json
from types import SimpleNamespace

import aiohttp
import pytest

from tests.hang import HANG_S
from tests.unit.reasoning_rm.serving import serving
from tests.unit.reasoning_rm.test_scoring_local import ITEMS, config
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring.local import ModelScorer, RubricScorer
from tracelift_ray.reasoning_rm.service.protocol import write_request
from tracelift_ray.reasoning_rm.service.server import ScoringService, ServiceLimits
from tracelift_ray.types import RubricScore

LIMITS = ServiceLimits(task="math", max_body_kib=64, max_items=20, max_waiting=40, timeout_s=5.0)
ITEM = {"problem": "Add 1 and 2.", "reasoning": "step"}


class Slow:
    """Takes ``seconds`` for a trace, and fails for the reasoning ``fail``."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.lengths = []
        self.running = self.most = self.given_up = 0

    async def score(self, problem, reasoning, max_length=None):
        self.lengths.append(max_length)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.running -= 1
        if reasoning == "fail":
            raise InfrastructureError("reasoning_rm", "out of memory")
        return RubricScore((4.0,) * 5, 1.0, 0.5, truncated=reasoning == "long")


def service_of(scorer, **limits):
    return ScoringService(scorer, ServiceLimits(**{**vars(LIMITS), **limits}), {"backend": "test", "model": "m"})


async def ask(address, body, path="/score"):
    """Status and JSON of a POST request with an object or with raw bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with aiohttp.ClientSession() as session, session.post(f"{address}{path}", data=data) as response:
        return response.status, await response.json()


async def get(address, path):
    async with aiohttp.ClientSession() as session, session.get(f"{address}{path}") as response:
        return response.status, await response.text()


async def test_a_body_that_does_not_come_is_refused():
    async with serving(service_of(Slow(), timeout_s=0.05).application()) as address:
        host, port = address.removeprefix("http://").split(":")
        async with asyncio.timeout(HANG_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in await reader.readline()
            writer.close()


async def test_a_request_that_is_cancelled_as_its_body_comes_is_not_scored():
    scorer, body = Slow(), asyncio.get_running_loop().create_future()

    async def read():
        return await body

    answering = asyncio.create_task(service_of(scorer)._answer(SimpleNamespace(read=read)))
    for _ in range(5):  # until it waits for the body
        await asyncio.sleep(0)
    body.set_result(json.dumps({"items": [ITEM]}).encode())
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert scorer.lengths == []


async def test_scores_are_those_of_the_model_for_every_way_of_asking(reward_model):
    wanted = [score.score for score in RubricScorer(config(reward_model)).score(ITEMS)]
    scorer = ModelScorer(config(reward_model))
    await scorer.start()
    async with serving(service_of(scorer).application()) as address:
        body = write_request(ITEMS, 512, send_tests=True)
        alone = [ask(address, write_request([item], 512, send_tests=True)) for item in ITEMS]
        for status, answer in (await ask(address, body), await ask(address, body | {"batch_size": 5})):
            assert status == 200 and answer["scores"] == pytest.approx(wanted, abs=1e-5)
        answers = await asyncio.gather(*alone)
        assert [answer["scores"][0] for _, answer in answers] == pytest.approx(wanted, abs=1e-5)
        _, cut = await ask(address, body | {"max_length": 130, "dimensions": True})
        assert any(cut["truncated"]) and cut["scores"] != pytest.approx(wanted, abs=1e-5)
        assert len(cut["dimensions"]) == len(ITEMS) and len(cut["dimensions"][0]) == 5
    await scorer.close()


async def test_what_cannot_be_answered_is_refused_in_one_line():
    async with serving(service_of(Slow()).application()) as address:
        for body, status, reason in (
            (b"{", 400, "no JSON"),
            ({"items": []}, 422, "at least one"),
            ({"items": [ITEM] * 21}, 422, "21, at most 20"),
            (json.dumps({"items": [ITEM | {"reasoning": "x" * 70_000}]}).encode(), 413, "larger than 64 KiB"),
        ):
            found, answer = await ask(address, body)
            assert (found, set(answer)) == (status, {"error"})
            assert reason in answer["error"] and "\n" not in answer["error"]
        assert (await ask(address, {}, "/rank"))[0] == 404
        assert (await get(address, "/score"))[0] == 405


async def test_a_failure_gives_no_scores():
    async with serving(service_of(Slow()).application()) as address:
        status, answer = await ask(address, {"items": [ITEM, ITEM | {"reasoning": "fail"}]})
    assert (status, answer) == (500, {"error": "reasoning_rm: out of memory"})


async def test_a_request_that_takes_too_long_is_ended_and_frees_its_place():
    slow = Slow(30)
    async with serving(service_of(slow, timeout_s=0.05, max_waiting=3).application()) as address:
        for _ in range(3):
            status, answer = await ask(address, {"items": [ITEM] * 3})
            assert status == 504 and "not scored in 0.05 s" in answer["error"]
    assert slow.given_up == 9


async def test_too_much_at_a_time_is_turned_away():
    async with serving(service_of(Slow(0.2), max_waiting=5).application()) as address:
        asked = await asyncio.gather(*(ask(address, {"items": [ITEM] * 2}) for _ in range(4)))
        assert sorted(status for status, _ in asked) == [200, 200, 503, 503]
        assert (await ask(address, {"items": [ITEM] * 5}))[0] == 200


async def test_batch_size_bounds_how_many_are_scored_together():
    slow = Slow(0.01)
    async with serving(service_of(slow).application()) as address:
        await ask(address, {"items": [ITEM] * 7, "batch_size": 3, "max_length": 77})
    assert slow.most == 3 and slow.lengths == [77] * 7


async def test_a_client_that_has_gone_is_not_worked_for():
    slow = Slow(30)
    async with serving(service_of(slow).application()) as address:
        asking = asyncio.create_task(ask(address, {"items": [ITEM] * 3}))
        while slow.running < 3:
            await asyncio.sleep(0.005)
        asking.cancel()
        async with asyncio.timeout(HANG_S):
            while slow.running:
                await asyncio.sleep(0.005)
    assert slow.given_up == 3


async def test_health_and_metrics_tell_what_is_going_on():
    service = service_of(Slow())
    async with serving(service.application()) as address:
        await ask(address, {"items": [ITEM, ITEM | {"reasoning": "long"}]})
        await ask(address, b"{")
        status, health = await get(address, "/health")
        assert status == 200
        assert json.loads(health) == {"status": "ok", "backend": "test", "model": "m", "waiting": 0}
        _, metrics = await get(address, "/metrics")
        for line in (
            'tracelift_rm_requests_total{status="200"} 1.0',
            'tracelift_rm_requests_total{status="400"} 1.0',
            "tracelift_rm_traces_total 2.0",
            "tracelift_rm_truncated_total 1.0",
            "tracelift_rm_request_seconds_count 2.0",
            "tracelift_rm_waiting 0.0",
        ):
            assert line in metrics.splitlines()
        service.drain()
        assert (await get(address, "/health"))[0] == 503
        status, answer = await ask(address, {"items": [ITEM]})
        assert status == 503 and "shutting down" in answer["error"]
