"""vLLM and transformers engines side by side, as executors of a very small model.

    python -m benchmarks.engines [--requests 192] [--samples 4] [--tokens 16] [--model DIR]

Each engine answers the same requests, once to warm up and then ``--rounds`` times; printed are the median seconds of
a round, tokens per second, and the ratio. Without ``--model`` a random Llama of 0.7 M parameters is used, which has the
size of the demo's executor. Run it with OMP_NUM_THREADS set to the cores that an engine gets.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time

from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.engines.seeds import request_seed
from tracelift_ray.types import Prompt, SamplingParams


def requests(count: int, samples: int, tokens: int) -> list[tuple[Prompt, SamplingParams]]:
    """Prompts of 30 to 90 tokens; every fourth repeats another, as the baseline of a group does."""
    made = []
    for index in range(count):
        base = index - index % 4 if index % 4 == 3 else index
        ids = tuple(20 + (base * 31 + 7 * place) % 120 for place in range(30 + base * 13 % 61))
        params = SamplingParams(tokens, temperature=0.7, n=samples, seed=request_seed(0, index))
        made.append((Prompt(ids, ""), params))
    return made


async def measure(kind: str, model: str, work: list[tuple[Prompt, SamplingParams]], rounds: int) -> tuple[float, int]:
    """Median seconds of a round, and the tokens that it writes."""
    engine = build_engine(engine_config(kind, max_num_seqs=1024), model)
    began = time.perf_counter()
    await engine.start()
    print(f"{kind}: up after {time.perf_counter() - began:.1f} s", flush=True)
    seconds, written = [], 0
    try:
        for _ in range(1 + rounds):
            began = time.perf_counter()
            answers = await asyncio.gather(*(engine.generate(prompt, params) for prompt, params in work))
            seconds.append(time.perf_counter() - began)
            written = sum(len(completion.token_ids) for answer in answers for completion in answer)
    finally:
        await engine.close()
    median = statistics.median(seconds[1:])
    print(f"{kind}: {median:.2f} s a round (median of {rounds}), {written / median:,.0f} tokens/s", flush=True)
    return median, written


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=192)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="")
    options = parser.parse_args()
    work = requests(options.requests, options.samples, options.tokens)
    with tempfile.TemporaryDirectory() as directory:
        model = options.model or make_tiny_llama(
            directory, 0, tokenizer="word", hidden=128, layers=3, heads=4, kv_heads=4
        )
        medians = {
            kind: asyncio.run(measure(kind, model, work, options.rounds))[0] for kind in ("transformers", "vllm")
        }
    print(f"vllm / transformers: {medians['vllm'] / medians['transformers']:.2f}")


if __name__ == "__main__":
    main()
