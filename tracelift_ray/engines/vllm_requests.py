"""One request to vLLM's AsyncLLM: its samples, where asked for only up to a pattern in their text.

vLLM ends samples at literal strings alone. For a pattern each sample becomes a request, with the seed that vLLM gives
it as one sample of several, and ends as soon as its text matches.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from vllm import SamplingParams as VllmSamplingParams
    from vllm.outputs import CompletionOutput, RequestOutput

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
