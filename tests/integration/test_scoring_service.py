"""The scoring service as a command, and a training run whose scores come from one; the demo's models, over loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actors.placement import Placement
from actors.reasoning_rm import RayReasoningRmPool
from actors.runtime import live_nodes
from tests.configs import run_config
from tests.hang import HANG_S
from tests.integration.training_runs import records
from tracelift_ray.demo.source import demo_groups
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.placement import place
from tracelift_ray.planning.resources import demands
from tracelift_ray.reasoning_rm.scoring.local import ModelScorer, RubricScorer
from tracelift_ray.reasoning_rm.service.server import ScoringService, ServiceLimits
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.types import Problem, RubricScore

ROOT = Path(__file__).resolve().parents[2]
RM = run_config().reasoning_rm


def post(url: str, body: Any) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=HANG_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def served():
    """The process of ``launch.serve_rm`` and its address."""
    overrides = [f"reasoning_rm.model={RM.model}", "reasoning_rm.max_length=256", "port=0", "max_items=4000"]
    overrides += [f"drain_s={HANG_S}", f"timeout_s={HANG_S}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.serve_rm", *overrides], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    alarm = threading.Timer(HANG_S, process.kill)  # else a service that never starts is read for ever
    alarm.start()
    assert process.stdout is not None
    line = next((line for line in process.stdout if "http://" in line), "")
    alarm.cancel()
    assert line, "the service ended before it listened"
    yield process, line[line.index("http://") : line.index(";")]
    if process.poll() is None:
        process.kill()
    process.wait(HANG_S)


def test_a_batch_in_the_released_protocol_is_scored_and_what_is_under_way_is_answered_before_the_end(served) -> None:
    process, url = served
    groups = [group for task in ("math", "code") for group in demo_groups(task, 20, 3, "heldout")]
    traces = [(group.problem, trace.reasoning) for group in groups for trace in (*group.positives, *group.negatives)]
    items = [{"problem": p.statement, "reasoning": r, "task_name": p.task, "task_type": p.task_type} for p, r in traces]
    status, answer = post(url, {"items": items, "max_length": 3072, "batch_size": 8})
    without_tests = [(Problem("", p.task, p.statement, p.task_type), r) for p, r in traces]
    scores = RubricScorer(RM).score(without_tests)
    assert status == 200
    assert answer["scores"] == pytest.approx([score.score for score in scores], abs=1e-5)
    assert post(url, {"items": [{"problem": "p"}]}) == (422, {"error": "items[0].reasoning is missing"})

    many = {"items": [item | {"task_type": f"{item['task_type']} {n}"} for n in range(8) for item in items]}
    answers: list[tuple[int, dict[str, Any]]] = []
    asking = threading.Thread(target=lambda: answers.append(post(url, many)))
    asking.start()
    deadline = time.monotonic() + HANG_S
    while '"waiting": 0' in urllib.request.urlopen(url.replace("/score", "/health"), timeout=10).read().decode():
        assert time.monotonic() < deadline and asking.is_alive(), "the request was answered before it was seen waiting"
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    asking.join(HANG_S)
    assert process.wait(HANG_S) == 0
    ((status, answer),) = answers
    assert status == 200 and len(answer["scores"]) == len(many["items"])


class Failing:
    """A model's scores, but for one trace in five, for which it always fails."""

    def __init__(self) -> None:
        self.model = ModelScorer(RM)

    async def score(self, problem: Problem, reasoning: str, max_length: int | None = None) -> RubricScore:
        if fails(reasoning):
            raise InfrastructureError("reasoning_rm", "no memory")
        return await self.model.score(problem, reasoning, max_length)


def fails(reasoning: str) -> bool:
    return zlib.crc32(reasoning.encode()) % 5 == 0


async def test_an_asynchronous_run_takes_its_scores_from_a_service_and_masks_what_has_none(tmp_path: Path) -> None:
    scorer = Failing()
    await scorer.model.start()
    service = ScoringService(scorer, ServiceLimits("math", 1024, 64, 4096, 60.0), {})
    runner = web.AppRunner(service.application(), shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    remote = {
        "url": f"http://127.0.0.1:{runner.addresses[0][1]}/score",
        "batch_size": 1,
        "retries": 0,
    }
    overrides = (
        "experiment=quickstart",
        "planner.engine.kind=transformers",
        "reasoning_rm=remote",
        *(f"reasoning_rm.remote.{key}={value}" for key, value in remote.items()),
        "reasoning_rm.model=''",
        "stream.min_traces=1",
        "stream.max_staleness=2",
        "tracking.wandb=disabled",
        "algorithm.groups_per_step=4",
        "algorithm.group_size=4",
        "evaluation.at_start=false",
        "evaluation.problems=0",
        "data.limit=100",
        "total_steps=5",
        f"run_dir={tmp_path}",
    )
    try:
        train = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "launch.train",
            *overrides,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(train.communicate(), HANG_S)
    finally:
        await scorer.model.close()
        await runner.cleanup()
    assert train.returncode == 0, output.decode()[-3000:]
    assert 0 < max(record["stream/staleness_max"] for record in records(tmp_path, "training")) <= 2
    traces = [json.loads(line) for line in (tmp_path / "trajectories.jsonl").read_text().splitlines()]
    read = [trace for trace in traces if trace["malformed"] is None]
    masked = [trace for trace in read if fails(trace["reasoning"])]
    assert masked, "no trace met the fault; the test shows nothing"
    for trace in masked:
        assert trace["masked"].startswith("reasoning_rm") and "no memory" in trace["masked"]
        assert trace["reward"] is None and trace["rubric"] is None
    scored = [trace for trace in read if not fails(trace["reasoning"])]
    assert all(trace["rubric"]["labels"] == {} and trace["reward"] is not None for trace in scored)
    problems = [Problem("", t["task"], t["statement"], t["task_type"]) for t in scored if t["task"] == "math"]
    own = RubricScorer(RM).score([(p, t["reasoning"]) for p, t in zip(problems, _math(scored), strict=True)])
    assert [t["rubric"]["score"] for t in _math(scored)] == pytest.approx([score.score for score in own], abs=1e-5)


def _math(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [trace for trace in traces if trace["task"] == "math"]


@pytest.mark.usefixtures("local_ray")
async def test_a_pool_of_judges_asks_a_server_for_the_rubric() -> None:
    asked: list[str] = []

    async def models(request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": "big", "object": "model", "created": 0, "owned_by": "us"}]}
        )

    async def chat(request: web.Request) -> web.Response:
        asked.append((await request.json())["messages"][0]["content"])
        reply = json.dumps(dict.fromkeys((*MathTask.dimensions, "total"), 6 if "7 + 5" in asked[-1] else 11))
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "big", "choices": [choice]}
        )

    application = web.Application()
    application.router.add_get("/v1/models", models)
    application.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    run = run_config(
        "reasoning_rm=judge",
        "reasoning_rm.judge.engine.kind=openai",
        f"reasoning_rm.judge.remote.base_url=http://127.0.0.1:{runner.addresses[0][1]}/v1",
        "reasoning_rm.judge.remote.model=big",
        "reasoning_rm.pool.retries=1",
    )
    placement = Placement()
    wanted = [each for each in demands(run) if each.name == "reasoning_rm"]
    await placement.reserve(place(wanted, live_nodes()), HANG_S)
    pool = RayReasoningRmPool(run.reasoning_rm, placement, run.seed)
    try:
        await pool.pool.start()
        problem = Problem("p", "math", "tom has 7 pens . then buys 5 more . how many pens now ?", answer="12")
        assert await pool.score(problem, "7 + 5") == RubricScore((3.0,) * 5, 0.6, 0.5 * 0.75 + 0.5 * 0.6)
        assert len(asked) == 1
        with pytest.raises(InfrastructureError, match="reasoning_rm: the judge's reply and its repair cannot be read"):
            await pool.score(problem, "7 + 6")
        assert len(asked) == 1 + 2 * 2  # a reply and its repair, from the pool's second try too
    finally:
        await pool.pool.close()
        placement.release()
        await runner.cleanup()
