"""A decoder writes what a plain forward pass gives, also for windowed layers and for attention that adds its mask."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GptOssConfig, LlamaConfig, MistralConfig

from tests.tiny import make_tokenizer
from tracelift_ray.engines.attention_masks import StepMasks
from tracelift_ray.engines.batch_decoder import BatchDecoder, Request
from tracelift_ray.types import SamplingParams

WINDOW = 8
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "initializer_range": 0.2,
    "sliding_window": WINDOW,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = [
    MistralConfig(**SIZES, vocab_size=262),
    Gemma3TextConfig(**SIZES, vocab_size=262, layer_types=["sliding_attention", "full_attention"]),
    GptOssConfig(**SIZES, vocab_size=262, num_local_experts=2, num_experts_per_tok=1),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_rows_of_unequal_length_are_written_as_each_would_be_alone(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    decoder = BatchDecoder(model, make_tokenizer("byte"), 8)
    params = SamplingParams(3 * WINDOW, temperature=1.0, logprobs=True, seed=1)
    requests = [Request(tuple(range(5, 5 + length)), params, None) for length in (3, 12)]
    decoder.add(requests)
    while decoder.busy:
        decoder.step()
    for request in requests:
        written = request.finished[0]
        ids = torch.tensor([request.prompt_ids + written.token_ids])
        with torch.no_grad():
            rows = torch.log_softmax(model(input_ids=ids).logits[0, len(request.prompt_ids) - 1 : -1], -1)
        wanted = rows[range(len(written.token_ids)), list(written.token_ids)]
        assert torch.allclose(torch.tensor(written.logprobs), wanted, atol=1e-5)


def test_a_model_with_layers_of_another_kind_is_refused():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, vocab_size=262))
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ValueError, match="has no linear_attention, which layers of this model have"):
        StepMasks(model)
