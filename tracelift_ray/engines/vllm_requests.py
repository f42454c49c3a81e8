"""What is asked of vLLM's AsyncLLM: samples, where asked for only up to a pattern in their text, and control calls.

vLLM ends samples at literal strings alone. For a pattern each sample becomes a request, with the seed that vLLM gives
it as one sample of several, and ends as soon as its text matches.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from vllm import SamplingParams as VllmSamplingParams
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

#: Seconds between two looks at whether the engine core lives.
LOOK_S = 0.2

Result = TypeVar("Result")
#: Starts a request with these parameters.
Ask = Callable[["VllmSamplingParams"], "AsyncIterator[RequestOutput]"]


async def samples(ask: Ask, params: VllmSamplingParams, until: str) -> list[CompletionOutput]:
    """The samples of a request, each cut at the end of the first match of ``until``, where that is not empty."""
    if not until:
        return [sample async for output in ask(params) for sample in output.outputs]
    pattern = re.compile(until, re.MULTILINE)
    apart = [asyncio.ensure_future(_up_to(ask(_one(params, i)), pattern, i)) for i in range(params.n)]
    try:
        return list(await asyncio.gather(*apart))
    finally:
        for each in apart:
            each.cancel()


def _one(params: VllmSamplingParams, index: int) -> VllmSamplingParams:
    """The parameters of sample ``index`` alone, whose text comes while it is written."""
    from vllm.sampling_params import RequestOutputKind

    one = params.clone()
    one.n, one.output_kind = 1, RequestOutputKind.CUMULATIVE
    one.seed = None if params.seed is None else params.seed + index
    return one


async def _up_to(stream: AsyncIterator[RequestOutput], pattern: re.Pattern[str], index: int) -> CompletionOutput:
    lines, sample = 0, None
    async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as outputs:  # ends the request where it goes on
        async for output in outputs:
            sample = replace(output.outputs[0], index=index)
            found = sample.text.count("\n")
            match = pattern.search(sample.text) if found > lines else None
            lines = found
            if match is not None:
                return replace(sample, text=sample.text[: match.end()], finish_reason="stop")
    assert sample is not None  # a request ends with an output, or raises
    return sample


async def unless_dead(llm: AsyncLLM, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``, or vLLM's error as soon as the engine core is dead.

    vLLM ends requests when the core dies, but not the control calls that the core was asked for before.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_S)
            if llm.errored and not task.done():
                raise llm.dead_error
        return task.result()
    finally:
        task.cancel()
