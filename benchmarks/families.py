"""Model families from learner to engine: does each go through update, broadcast, generation and canary?

    python -m benchmarks.families                                     # writes docs/results/families.md
    python -m benchmarks.families --families gemma3 gpt_oss --engines vllm --adapter --out /tmp/families.md

Each family is a tiny random model. An engine writes traces with it, the learner takes a step on them that moves every
weight, the new weights go to the engine through shared memory (with ``--adapter``: adapters alone, of rank 4), and the
canary compares the two before and after. A row is a family and an engine: what went through, or why not.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.learner_configs import ALGORITHM, learner, lora
from tests.tiny import engine_config, make_tokenizer
from tracelift_ray.config.errors import first_line
from tracelift_ray.engines.base import Engine
from tracelift_ray.engines.kinds import build_engine, training_kinds
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.learner import Learner, engine_settings
from tracelift_ray.rl.weights import broadcast_weights
from tracelift_ray.training.engine import join
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.ranks import RankPlace, free_port
from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest, WeightReceipt
from tracelift_ray.transfer.senders import SenderSettings
from tracelift_ray.types import Completion, Prompt, SamplingParams, TrainBatch, TrainSample

OUT = Path(__file__).resolve().parent.parent / "docs" / "results" / "families.md"
PROMPT = Prompt(tuple(5 + index % 40 for index in range(60)), "")
#: In float32 engine and learner agree to this, in nats per token and on average.
BOUND = 1e-4
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
}


@dataclass(frozen=True)
class Family:
    """A class of configurations of transformers, what sets its tiny model apart, and a word on it."""

    config: str
    changes: dict[str, Any]
    what: str


FAMILIES: dict[str, Family] = {
    "llama": Family("LlamaConfig", {"tie_word_embeddings": True}, "tied embedding"),
    "qwen2": Family("Qwen2Config", {}, "biases"),
    "qwen3": Family("Qwen3Config", {"head_dim": 32, "tie_word_embeddings": True}, "norms of queries and keys, tied"),
    "qwen3_moe": Family(
        "Qwen3MoeConfig",
        {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
        "experts, which transformers keeps fused",
    ),
    "mistral": Family("MistralConfig", {"head_dim": 32, "sliding_window": None}, ""),
    "gemma3": Family(
        "Gemma3TextConfig",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 64, "sliding_window_pattern": 2},
        "windowed layers, scaled and tied embedding",
    ),
    "gemma2": Family(
        "Gemma2Config", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 64}, "capped logits"
    ),
    "phi3": Family("Phi3Config", {"pad_token_id": 0}, "fused projections"),
    "olmo2": Family("Olmo2Config", {}, "norms behind the layers"),
    "smollm3": Family("SmolLM3Config", {"tie_word_embeddings": True}, "layers without positions"),
    "granite": Family("GraniteConfig", {"logits_scaling": 4.0, "embedding_multiplier": 2.0}, "scaled logits"),
    "gpt_oss": Family(
        "GptOssConfig",
        {"head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 64, "rope_scaling": None},
        "experts with biases, attention sinks",
    ),
}


def make_model(family: Family, path: Path) -> None:
    """Save a random model of the family, with a tokenizer of bytes."""
    import torch
    import transformers

    words = make_tokenizer("byte")
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    values = {**SIZES, "vocab_size": len(words), **ids, "dtype": "float32", **family.changes}
    torch.manual_seed(0)
    config = getattr(transformers, family.config)(**values)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(path)
    words.save_pretrained(path)


class OneRank:
    """A learner of this process as a ``rl.pools.LearnerGroup``."""

    def __init__(self, rank: Learner) -> None:
        self.rank = rank
        self.lock = asyncio.Lock()

    async def update(self, batch: TrainBatch) -> dict[str, float]:
        metrics = self.rank.update(batch)
        return {} if metrics is None else metrics.known()

    async def abandon_update(self) -> None:
        self.rank.abandon_update()

    async def save(self, planner_dir: str, state_dir: str | None) -> None:
        self.rank.save_pretrained(planner_dir)

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        return self.rank.describe_weights(receivers)

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        return await asyncio.to_thread(self.rank.send_weights, manifest)

    async def abort_weights(self) -> None:
        self.rank.abort_weights()

    async def release_weights(self, manifest: WeightManifest) -> None:
        self.rank.release_weights(manifest.version)

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        return self.rank.score(samples)


class OneEngine:
    """An engine of this process as ``rl.pools.WeightReceivers``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def receivers(self) -> tuple[str, ...]:
        return ("0.0",)

    def held(self) -> Held | None:
        return None

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        return [await self.engine.receive_weights(manifest)]

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        return {"0.0": (await self.engine.generate(prompt, params))[0]}


async def tried(family: Family, kind: str, adapter: bool, place: RankPlace) -> str:
    """What went through, as cells of a row: mismatch before the step, canary after it, how far the step moved it."""
    with tempfile.TemporaryDirectory() as directory:
        make_model(family, Path(directory))
        config = learner(lr=1e-2, lora=lora(transfer="adapter") if adapter else lora(rank=0))
        rank = Learner(config, ALGORITHM, directory, Distribution(1.0), 10, seed=0, place=place)
        engine = build_engine(
            engine_config(kind), directory, transfer="shared_memory", adapter=config.sent_adapter, seed=1
        )
        try:
            rank.start()
            rank.open_weights("shared_memory", SenderSettings("families", 1, 60.0))
            await engine.start()
            return await _through(OneRank(rank), engine)
        finally:
            await engine.close()
            rank.close()


async def _through(group: OneRank, engine: Engine) -> str:
    canary, engines = Canary(PROMPT, 1.0, BOUND), OneEngine(engine)
    await broadcast_weights(group, engines, canary)
    before = canary.last["0.0"]
    traces = await engine.generate(PROMPT, SamplingParams(24, n=4, seed=7, logprobs=True))
    samples = [
        TrainSample(PROMPT.token_ids, trace.token_ids, trace.logprobs or (), (-1.0) ** index)
        for index, trace in enumerate(traces)
    ]
    batch = TrainBatch(tuple(samples), len(samples), sum(len(each.completion_ids) for each in samples))
    metrics = await group.update(batch)
    sample = TrainSample(PROMPT.token_ids, before.token_ids, (0.0,) * len(before.token_ids), 0.0)
    (moved,) = group.rank.score([sample])
    step = max(abs(a - b) for a, b in zip(moved, before.learners, strict=True))
    done = await broadcast_weights(group, engines, canary)
    mismatch = metrics["mismatch_max"]
    return f"yes | {mismatch:.1e} | {step:.2f} | {done.canary:.1e}"


async def table(names: Sequence[str], kinds: Sequence[str], adapter: bool) -> list[str]:
    """Rows of the table."""
    place = RankPlace(0, 1, "127.0.0.1", free_port())
    settings = engine_settings(learner())
    join(place, replace(settings, startup_s=60.0))
    rows = []
    for name in names:
        for kind in kinds:
            try:
                cells = await tried(FAMILIES[name], kind, adapter, place)
            except Exception as error:  # the reason is the result
                cells = f"no: {first_line(error)[:300].replace('|', '/')} | | |"
            rows.append(f"| {name} | {FAMILIES[name].what} | {kind} | {cells} |")
            print(rows[-1], flush=True)
    return rows


def page(rows: Sequence[str], command: str) -> str:
    head = f"""# Model families

Tiny random models of each family, in float32 on CPUs, through the learner's update, a broadcast in shared memory, an
engine and the canary (`{command}`). "Mismatch": the largest difference of a token's log-prob between engine and
learner, before the step. "Step": how far the step moved the log-probs of the canary's tokens at most. "Canary": how far
engine and learner are apart after it, on average. Anything above {BOUND:g} there counts as a failure.

| family | what sets it apart | engine | goes through | mismatch | step | canary |
|---|---|---|---|---|---|---|
"""
    return head + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--engines", nargs="+", choices=training_kinds(), default=list(training_kinds()))
    parser.add_argument("--adapter", action="store_true", help="train adapters and send them alone")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    rows = asyncio.run(table(chosen.families, chosen.engines, chosen.adapter))
    chosen.out.write_text(page(rows, "python -m benchmarks.families" + (" --adapter" if chosen.adapter else "")))


if __name__ == "__main__":
    main()
