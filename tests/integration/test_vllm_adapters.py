"""vLLM serves what a learner with adapters computes: adapters alone, with requests in flight, and merged weights."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3MoeConfig

from tests.adapters import LORA, adapted_model, change, describe, logprobs, send, sender
from tests.tiny import engine_config, make_tiny_llama, make_tokenizer
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.types import Prompt, SamplingParams

PROMPT = Prompt(tuple(5 + index % 200 for index in range(150)), "")  # longer than a block of the prefix cache
PARAMS = SamplingParams(max_new_tokens=16, seed=3, logprobs=True)
LONG = SamplingParams(max_new_tokens=350, temperature=0.0, logprobs=True)


def make_tiny_experts(path: Path) -> str:
    """A model whose experts transformers keeps fused and vLLM packed."""
    config = Qwen3MoeConfig(
        vocab_size=262,
        hidden_size=64,
        moe_intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        num_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.1,
        dtype="float32",
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    make_tokenizer("byte").save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("sent", [LORA, None], ids=["adapter", "merged, experts"])
async def test_vllm_and_learner_agree_version_after_version(tmp_path, sent):
    path = make_tiny_experts(tmp_path) if sent is None else make_tiny_llama(tmp_path, seed=0, tied=True)
    model, sends = adapted_model(path), sender()
    engine = build_engine(engine_config("vllm"), path, transfer="shared_memory", adapter=sent)
    await engine.start()
    try:
        for version in (1, 2, 3):
            running = asyncio.create_task(engine.generate(PROMPT, LONG))
            await asyncio.sleep(0.05)
            change(model, seed=version)
            if sent is None:
                for name, parameter in model.named_parameters():
                    if "experts" in name:
                        parameter.data.mul_(1.1)
            manifest = describe(sends, model, version, sent)
            checksum = send(sends, manifest, model, sent)
            receipt = await engine.receive_weights(manifest)
            sends.release(version)
            assert (receipt.version, receipt.checksum) == (version, checksum)
            (after,) = await engine.generate(PROMPT, PARAMS)
            wanted = logprobs(model, PROMPT.token_ids, after.token_ids)
            assert torch.allclose(torch.tensor(after.logprobs), wanted, atol=1e-4)
            assert after.oldest_version == version
            (late,) = await running
            assert late.newest_version in (version - 1, version)
            if late.newest_version == version:  # it went on with the new weights
                last = logprobs(model, PROMPT.token_ids, late.token_ids)[-1:]
                assert torch.allclose(torch.tensor(late.logprobs[-1:]), last, atol=1e-4)
    finally:
        sends.close()
        await engine.close()
