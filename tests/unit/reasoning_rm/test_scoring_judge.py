"""A judge's scores, over real HTTP against an OpenAI-compatible server with replies of our choice."""

import json

import pytest
from aiohttp import web

from tests.tiny import engine_config, make_tiny_llama
from tests.unit.reasoning_rm.serving import serving
from tracelift_ray.config.models import JudgeConfig, RemoteConfig, SamplingConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring.judge import JudgeScorer
from tracelift_ray.tasks.code import CodeTask
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.types import Problem, RubricScore

MATH = Problem("m", "math", "Tom has 3 pens and buys 4. How many?", answer="7")
CODE = Problem("c", "code", "Read n and print its square.")


def judgement(names, scores, total):
    return json.dumps({**dict(zip(names, scores, strict=True)), "total": total})


GOOD = judgement(MathTask.dimensions, (10, 8, 6, 3, 0), 5)


class Server:
    """Answers chat requests with ``replies``, one after the other, and keeps what was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []

    def application(self):
        application = web.Application()
        application.router.add_get("/v1/models", self.models)
        application.router.add_post("/v1/chat/completions", self.chat)
        return application

    async def models(self, request):
        return web.json_response(
            {"object": "list", "data": [{"id": "judge", "object": "model", "created": 0, "owned_by": "us"}]}
        )

    async def chat(self, request):
        body = await request.json()
        self.asked.append(body["messages"][0]["content"])
        message = {"role": "assistant", "content": self.replies.pop(0)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "judge", "choices": [choice]}
        )


def judge_config(address, **sampling):
    values = {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 64, "seeded": False} | sampling
    remote = RemoteConfig(f"{address}/v1", "judge", "chat", "", 4, 5.0, 0)
    return JudgeConfig("", "chat", SamplingConfig(**values), engine_config("openai"), remote)


async def judged(server, problem, reasoning="3 + 4"):
    async with serving(server.application()) as address:
        scorer = JudgeScorer(judge_config(address))
        try:
            await scorer.start()
            return await scorer.score(problem, reasoning)
        finally:
            await scorer.close()


async def test_a_reply_becomes_labels_total_and_score():
    server = Server(GOOD)
    assert await judged(server, MATH) == RubricScore((4.0, 4.0, 3.0, 1.0, 0.0), 0.5, 0.5 * 12 / 20 + 0.5 * 0.5)
    (asked,) = server.asked
    assert "Tom has 3 pens" in asked and "3 + 4" in asked


async def test_each_task_has_its_own_rubric():
    score = await judged(Server(judgement(CodeTask.dimensions, (10, 10, 10, 10, 10), 10)), CODE)
    assert score == RubricScore((4.0,) * 5, 1.0, 1.0)


@pytest.mark.parametrize("broken", ["I would say 7 of 10.", GOOD[:-9], GOOD.replace("10", "12"), '{"total": 5}'])
async def test_a_reply_that_cannot_be_read_is_repaired_once(broken):
    server = Server(broken, f"```json\n{GOOD}\n```")
    assert (await judged(server, MATH)).total == 0.5
    assert len(server.asked) == 2 and broken[:20] in server.asked[1]


async def test_what_cannot_be_read_after_its_repair_is_no_score():
    server = Server("seven", "eight", GOOD)
    with pytest.raises(InfrastructureError, match="its repair cannot be read") as caught:
        await judged(server, MATH)
    assert caught.value.component == "reasoning_rm" and len(server.asked) == 2


async def test_a_judge_that_is_not_there_is_known_at_the_start():
    scorer = JudgeScorer(judge_config("http://127.0.0.1:9"))
    with pytest.raises(InfrastructureError, match="cannot reach"):
        await scorer.start()
    await scorer.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("judge"), hidden=32, context=4096)


async def test_a_model_of_our_own_that_writes_no_json_gives_no_score(tiny):
    config = judge_config("")
    engine = engine_config("transformers", max_model_len=4096)
    own = JudgeConfig(tiny, "plain", config.sampling, engine, config.remote)
    scorer = JudgeScorer(own)
    await scorer.start()
    with pytest.raises(InfrastructureError, match="cannot be read"):
        await scorer.score(MATH, "3 + 4")
    with pytest.raises(InfrastructureError, match="exceed the context of 4096"):
        await scorer.score(MATH, "word " * 2000)
    await scorer.close()
