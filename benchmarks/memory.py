"""The memory plan of a dry run against what CPU learner ranks and engines hold, for random models of 1 M to 135 M.

    python -m benchmarks.memory [--only learner|engine] [--largest 135] [--settings lora]

Every case runs in a fresh process, one after the other. A learner rank is measured in later updates of two whole
micro-batches: the bytes of all tensors (from torch's allocator, at their peak) and the anonymous memory of the process
(sampled, above what it holds before the model). An engine is measured with as many requests as it holds; what its
processes hold is compared with that of one which serves a model of 0.1 M. Pages of files, which the kernel takes back
where memory is short, do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.configs import run_config
from tests.tiny import make_tokenizer
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.memory.holdings import engine_of
from tracelift_ray.planning.memory.learner import rank_plan
from tracelift_ray.planning.memory.serving import served
from tracelift_ray.planning.memory.shape import read_shape

#: hidden, intermediate, layers, heads, kv_heads, vocabulary; output layer tied.
MODELS = {
    "0.1 M": (64, 128, 2, 2, 1, 512),
    "2 M": (192, 512, 4, 4, 2, 512),
    "10 M": (256, 1024, 8, 4, 2, 8192),
    "35 M": (384, 1024, 16, 6, 2, 16384),
    "135 M": (576, 1536, 30, 9, 3, 49152),
}
PROMPT, NEW = 8, 120
#: glibc gives freed blocks back at once; an engine of a run keeps some for its next step.
RETURNED = "glibc.malloc.mmap_threshold=1048576"
BASELINE = "0.1 M"


@dataclass(frozen=True)
class Case:
    """A learner rank (``tokens`` of a micro-batch) or an engine, with overrides."""

    part: str
    model: str
    tokens: int = 0
    overrides: tuple[str, ...] = ()
    requests: int = 32


CASES = (
    *(Case("learner", model, 2048) for model in ("2 M", "10 M", "35 M")),
    Case("learner", "135 M", 512),
    Case("learner", "10 M", 2048, ("learner.gradient_checkpointing=true",)),
    Case("learner", "35 M", 2048, ("learner.gradient_checkpointing=true",)),
    Case("learner", "135 M", 1024, ("learner.gradient_checkpointing=true",)),
    Case("learner", "35 M", 2048, ("learner.layout=packed",)),
    Case("learner", "35 M", 1024, ("learner.zero_stage=1",)),
    Case("learner", "35 M", 1024, ("learner.zero_stage=2",)),
    Case("learner", "35 M", 1024, ("learner.zero_stage=3",)),
    Case("learner", "35 M", 1024, ("algorithm.kl_coef=0.1",)),
    Case("learner", "35 M", 1024, ("learner.lora.rank=16",)),
    Case("learner", "35 M", 1024, ("algorithm.entropy_coef=0.01",)),
    Case("learner", "35 M", 1024, ("planner.sampling.top_k=50",)),
    *(Case("engine", model) for model in ("0.1 M", "2 M", "10 M", "35 M", "135 M")),
    Case("engine", "35 M", overrides=("planner.engine.kv_cache_gib=1",)),
    *(Case("engine", model, overrides=("planner.engine.kind=transformers",)) for model in ("0.1 M", "10 M", "135 M")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("learner", "engine"))
    parser.add_argument("--largest", type=float, default=135, help="million parameters")
    parser.add_argument("--settings", default="", help="only cases with this in their settings")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measured(Case(**json.loads(arguments.case)))))
        return
    print("| part | model | settings | plan, MB | tensors, MB | | process, MB | |\n|---|---|---|---|---|---|---|---|")
    base: dict[str, dict[str, float]] = {}
    for case in CASES:
        wanted = arguments.only in (None, case.part) and arguments.settings in " ".join(case.overrides)
        if wanted and float(case.model.split()[0]) <= arguments.largest:
            print(_row(case, _in_fresh_process(case), base), flush=True)


def _in_fresh_process(case: Case) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", "--case", json.dumps(asdict(case))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": RETURNED}
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(said.splitlines()[-1])


def _row(case: Case, found: dict[str, float], base: dict[str, dict[str, float]]) -> str:
    """A line of the table; an engine above the one that serves the smallest model."""
    settings = ", ".join(f"`{each}`" for each in case.overrides) or "defaults"
    if case.part == "engine":
        kind = next((each for each in case.overrides if "kind" in each), "vllm")
        if case.model == BASELINE:
            base[kind] = found
            return f"| engine | {case.model} | {settings} | (above this one) | | | | |"
        found = {key: found[key] - base[kind][key] for key in ("plan", "process")}
    else:
        settings = f"{case.tokens} tokens" + (f", {settings}" if case.overrides else "")
    cells = [f"{found['plan'] / 1e6:.0f}"]
    for name in ("tensors", "process"):
        if name in found:
            cells += [f"{found[name] / 1e6:.0f}", f"{100 * (found['plan'] / found[name] - 1):+.1f} %"]
        else:
            cells += ["", ""]
    return f"| {case.part} | {case.model} | {settings} | {' | '.join(cells)} |"


def measured(case: Case) -> dict[str, float]:
    """Planned and measured bytes of one case, in this process."""
    with tempfile.TemporaryDirectory() as directory:
        model = _random_model(Path(directory), *MODELS[case.model])
        traces = max(2, 2 * case.tokens // (PROMPT + NEW))
        config = run_config(
            f"planner.model={model}",
            "planner.prompt=plain",
            f"planner.max_prompt_tokens={PROMPT}",
            f"planner.sampling.max_new_tokens={NEW}",
            f"planner.engine.max_num_seqs={case.requests}",
            f"planner.pool.max_concurrency={case.requests}",
            f"learner.micro_batch_tokens={max(1, case.tokens)}",
            "algorithm.groups_per_step=1",
            f"algorithm.group_size={traces}",
            "stream.min_traces=2",
            "stream.weight_transfer=collective",  # which holds nothing between versions
            *case.overrides,
        )
        return _learner(config) if case.part == "learner" else asyncio.run(_engine(config, case.requests))


def _random_model(path: Path, hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int) -> str:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=True,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return str(path)


# --- a learner rank -------------------------------------------------------------------------------------------------


def _learner(config: RunConfig) -> dict[str, float]:
    import deepspeed  # noqa: F401  # imported before the process is measured

    from tracelift_ray.rl.learner import Learner
    from tracelift_ray.training.logprobs import Distribution
    from tracelift_ray.training.ranks import RankPlace, free_port

    gc.collect()
    before = _anonymous(os.getpid())
    place = RankPlace(0, 1, "127.0.0.1", free_port())
    learner = Learner(
        config.learner, config.algorithm, config.planner.model, Distribution.of(config.planner.sampling), 10, 0, place
    )
    learner.start()
    batch = _batch(config)
    learner.update(batch)
    with sampled(os.getpid()) as process:
        learner.update(batch)
    held = _live_bytes()
    with _allocated() as peak:
        learner.update(batch)
    parts = rank_plan(config, read_shape(config.planner.model)).parts
    learner.close()
    return {
        "plan": parts.total - parts.runtime,
        "tensors": held + peak.most,
        "process": process.most - before,
    }


def _batch(config: RunConfig) -> Any:
    """Two micro-batches of traces of nearly full length."""
    from tracelift_ray.types import TrainBatch, TrainSample

    samples = []
    for index in range(config.algorithm.group_size):
        new = NEW - index % 4
        ids = tuple(range(3, 3 + new))
        samples.append(TrainSample(tuple(range(1, 1 + PROMPT)), ids, (-3.0,) * new, 0.5))
    return TrainBatch(tuple(samples), len(samples), sum(len(sample.completion_ids) for sample in samples))


def _live_bytes() -> int:
    """Bytes of all tensors that this process holds, those that share memory once."""
    import torch

    gc.collect()
    sizes = {}
    for each in gc.get_objects():
        if isinstance(each, torch.Tensor) and each.device.type == "cpu":
            storage = each.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


@dataclass
class Peak:
    """The most that was seen."""

    most: float = 0.0
    stopped: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _allocated() -> Iterator[Peak]:
    """The most that torch allocated on top of what there was."""
    from torch.profiler import ProfilerActivity, profile

    peak = Peak()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield peak
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak.most = max(peak.most, now)


# --- an engine ------------------------------------------------------------------------------------------------------


async def _engine(config: RunConfig, requests: int) -> dict[str, float]:
    from tracelift_ray.engines.kinds import build_engine
    from tracelift_ray.types import Prompt, SamplingParams

    found = engine_of(config, "planner")
    assert found is not None
    model, settings, load = found
    shape = read_shape(model)
    engine = build_engine(settings, model, transfer=None, seed=1)
    params = SamplingParams(max_new_tokens=NEW, logprobs=True)
    gc.collect()
    before = _anonymous(os.getpid())
    prompts = [Prompt(tuple(3 + (index + each) % 250 for each in range(PROMPT)), "") for index in range(requests)]
    with sampled(os.getpid()) as own, sampled(os.getpid(), child=True) as core:
        await engine.start()
        first = [asyncio.ensure_future(engine.generate(prompt, params)) for prompt in prompts[:-1]]
        await engine.generate(prompts[-1], SamplingParams(max_new_tokens=NEW - 10))  # the others are nearly done
        await asyncio.gather(engine.generate(prompts[-1], params), *first)
    await engine.close()
    # Where there is an engine core, the model is in that process. Our own decoder reads its weights from their file.
    process = core.most or own.most - before + 4 * shape.parameters
    return {"plan": served(settings, shape, load, None).parts.total, "process": process}


@contextmanager
def sampled(process: int, child: bool = False) -> Iterator[Peak]:
    """The most anonymous memory of a process, or with ``child`` of the largest of its children, seen every 5 ms."""
    import psutil

    peak, own = Peak(), psutil.Process(process)

    def look() -> None:
        watched, looked = [] if child else [process], 0.0
        while not peak.stopped.is_set():
            if child and time.monotonic() - looked > 0.5:
                watched, looked = [each.pid for each in own.children(recursive=True)], time.monotonic()
            peak.most = max([peak.most, *map(_anonymous, watched)])
            time.sleep(0.005)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        peak.stopped.set()
        thread.join()


def _anonymous(process: int) -> int:
    """Bytes of a process that no file backs, shared memory included; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


if __name__ == "__main__":
    main()
