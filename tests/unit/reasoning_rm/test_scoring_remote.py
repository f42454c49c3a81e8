"""Scores from a service elsewhere: what is asked, what is read, and that no failure becomes a number."""

import asyncio
import json
import socket

import pytest
from aiohttp import web

from tests.unit.reasoning_rm.serving import answering, service_config
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring import remote
from tracelift_ray.reasoning_rm.scoring.remote import RemoteScorer
from tracelift_ray.types import Problem, RubricScore

PROBLEM = Problem("p", "math", "Add 2 and 3.", task_type="arithmetic")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(remote, "LONGEST_PAUSE_S", 0.01)


async def scored(scorer, *reasonings):
    try:
        await scorer.start()
        return await asyncio.gather(*(scorer.score(PROBLEM, reasoning) for reasoning in reasonings))
    finally:
        await scorer.close()


def by_length(bodies=None):
    """A service that scores a trace by its length, and keeps the bodies it gets."""

    async def handler(request):
        body = await request.json()
        if bodies is not None:
            bodies.append((body, request.headers))
        return web.json_response({"scores": [len(item["reasoning"]) / 1000 for item in body["items"]]})

    return handler


async def test_each_trace_gets_its_own_score_and_what_waits_goes_together():
    bodies = []
    async with answering(by_length(bodies)) as url:
        scores = await scored(RemoteScorer(service_config(url), 512), *("x" * count for count in range(20)))
    assert scores == [RubricScore((), count / 1000, count / 1000) for count in range(20)]
    sizes = [len(body["items"]) for body, _ in bodies[1:]]  # after the one that start asks
    assert sum(sizes) == 20 and max(sizes) == 4
    assert all(body["max_length"] == 512 for body, _ in bodies)
    assert bodies[-1][0]["items"][0] == {
        "problem": "Add 2 and 3.",
        "reasoning": "x" * (20 - sizes[-1]),
        "task_name": "math",
        "task_type": "arithmetic",
    }


async def test_a_key_is_sent_and_must_be_there(monkeypatch):
    bodies = []
    monkeypatch.setenv("RM_KEY", "secret")
    async with answering(by_length(bodies)) as url:
        config = service_config(url, api_key_env="RM_KEY")
        await scored(RemoteScorer(config, 512), "x")
    assert bodies[0][1]["Authorization"] == "Bearer secret"
    monkeypatch.delenv("RM_KEY")
    with pytest.raises(ValueError, match="set RM_KEY"):
        RemoteScorer(config, 512)


async def test_no_more_requests_are_under_way_than_allowed():
    running = most = 0

    async def handler(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.json_response({"scores": [0.5] * len((await request.json())["items"])})

    async with answering(handler) as url:
        config = service_config(url, batch_size=1, concurrency=3)
        await scored(RemoteScorer(config, 512), *map(str, range(12)))
    assert most == 3


def broken(*answers):
    """A service that gives ``answers`` one after the other (a response, or a body), and then right ones."""
    left = list(answers)

    async def handler(request):
        count = len((await request.json())["items"])
        if not left:
            return web.json_response({"scores": [0.5] * count})
        answer = left.pop(0)
        return answer() if callable(answer) else web.Response(body=answer)

    return handler


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(status=503, text="busy"),
        lambda: web.Response(status=429),
        b"<html>",
        b'{"scores": [NaN]}',
        b'{"scores": []}',
    ],
)
async def test_a_failure_that_passes_is_tried_again(answer):
    async with answering(broken(answer, answer)) as url:
        assert await scored(RemoteScorer(service_config(url), 512), "x") == [RubricScore((), 0.5, 0.5)]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (
            lambda: web.Response(status=502, text="<h1>bad\ngateway</h1>"),
            "status 502 (<h1>bad gateway</h1>), in up to 3",
        ),
        (b'{"scores": [true]}', "true, not a number"),
        (b'{"scores": ["0.5"]}', "not a number"),
        (b'{"scores": [1.2]}', "1.2, outside [0, 1]"),
        (b'{"scores": [0.1, 0.2]}', "2 scores came for 1 traces"),
        (b'{"scores": [NaN]}', "NaN, outside [0, 1]"),
        (b'{"answer": 1}', "none of the keys"),
        (b'{"scores": [0.', "no JSON"),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "refused 1 traces with status 302"),
        (lambda: web.Response(status=404, text="no such path"), "refused 1 traces with status 404 (no such path)"),
    ],
)
async def test_a_failure_that_stays_is_an_infrastructure_error_that_names_the_cause(answer, cause):
    async with answering(broken(*[answer] * 3)) as url:
        with pytest.raises(InfrastructureError) as caught:
            await scored(RemoteScorer(service_config(url), 512), "x")
    assert caught.value.component == "reasoning_rm"
    assert cause in caught.value.cause and url in caught.value.cause and "\n" not in caught.value.cause


async def test_a_refusal_is_not_asked_again():
    async with answering(broken(lambda: web.Response(status=422, text="too long"))) as url:
        with pytest.raises(InfrastructureError, match="too long"):  # a second try would have got a score
            await scored(RemoteScorer(service_config(url), 512), "x")


async def test_a_service_that_is_not_there_is_known_at_the_start():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/score"
    scorer = RemoteScorer(service_config(url), 512)
    with pytest.raises(InfrastructureError, match=r"no connection .* check that the service is up"):
        await scorer.start()
    await scorer.close()


async def test_a_slow_service_is_given_up_in_time():
    async def handler(request):
        await asyncio.sleep(30)
        return web.Response()

    async with answering(handler) as url:
        scorer = RemoteScorer(service_config(url, timeout_s=0.05, retries=1), 512)
        with pytest.raises(InfrastructureError, match=r"no answer within 0\.05 s"):
            await scorer.start()
        await scorer.close()
        scorer = RemoteScorer(service_config(url, timeout_s=5.0, deadline_s=0.1), 512)
        with pytest.raises(
            InfrastructureError, match=r"no score .* in 0\.1 s, .* raise reasoning_rm\.remote\.deadline_s"
        ):
            await scorer.start()
        await scorer.close()


async def test_an_answer_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(remote, "MAX_ANSWER_BYTES", 1 << 20)

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with answering(handler) as url:
        scorer = RemoteScorer(service_config(url, retries=0), 512)
        with pytest.raises(InfrastructureError, match="more than 1 MiB"):
            await scorer.start()
        await scorer.close()


async def test_one_bad_batch_does_not_spoil_the_others():
    async def handler(request):
        items = (await request.json())["items"]
        if any(item["reasoning"] == "poison" for item in items):
            return web.Response(status=422, text="poison")
        return web.Response(body=json.dumps({"scores": [0.5] * len(items)}).encode())

    async with answering(handler) as url:
        scorer = RemoteScorer(service_config(url, batch_size=1), 512)
        await scorer.start()
        asked = (scorer.score(PROBLEM, text) for text in ("a", "poison", "b"))
        first, poison, last = await asyncio.gather(*asked, return_exceptions=True)
        await scorer.close()
    assert first == last == RubricScore((), 0.5, 0.5)
    assert isinstance(poison, InfrastructureError)
