"""Samples of vLLM that end at a pattern: cut there, and their requests ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tracelift_ray.engines import vllm_requests


@dataclass
class Sample:
    index: int
    text: str
    finish_reason: str | None = None


@dataclass
class Output:
    outputs: list[Sample]


@dataclass
class Params:
    n: int
    index: int = -1


@dataclass
class Vllm:
    """Writes texts character by character, and knows how much of each was asked for."""

    texts: list[str]
    written: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    async def ask(self, params: Params):
        text = self.texts[params.index]
        try:
            for length in range(1, len(text) + 1):
                await asyncio.sleep(0)
                self.written[params.index] = length
                yield Output([Sample(0, text[:length], "length" if length == len(text) else None)])
        finally:
            self.ended.add(params.index)


@pytest.fixture(autouse=True)
def _apart(monkeypatch):
    monkeypatch.setattr(vllm_requests, "_one", lambda params, index: Params(1, index))


async def test_each_sample_ends_at_its_first_match_and_its_request_with_it():
    vllm = Vllm(["a\n#7\nmore\n#8\n", "no answer\n", "#1\n"])
    found = await vllm_requests.samples(vllm.ask, Params(3), r"^#\d\n")
    assert [(each.index, each.text) for each in found] == [(0, "a\n#7\n"), (1, "no answer\n"), (2, "#1\n")]
    assert [each.finish_reason for each in found] == ["stop", "length", "stop"]
    assert vllm.written == {0: 5, 1: 10, 2: 3} and vllm.ended == {0, 1, 2}


async def test_a_cancelled_request_ends_all_of_its_samples():
    vllm = Vllm(["x" * 10_000] * 2)
    asking = asyncio.ensure_future(vllm_requests.samples(vllm.ask, Params(2), r"\n"))
    while len(vllm.written) < 2:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    while len(vllm.ended) < 2:
        await asyncio.sleep(0)


async def test_without_a_pattern_the_samples_come_as_they_are():
    async def ask(params):
        yield Output([Sample(1, "b"), Sample(0, "a")])

    assert await vllm_requests.samples(ask, Params(2), "") == [Sample(1, "b"), Sample(0, "a")]
