"""Which layers get adapters."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3MoeConfig

from tests.learner_configs import lora
from tracelift_ray.errors import DataError
from tracelift_ray.lora.layers import adapted, add_adapters

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
ATTENTION = ["k_proj", "o_proj", "q_proj", "v_proj"]
EXPERTS = Qwen3MoeConfig(**SIZES, num_experts=4, moe_intermediate_size=16)


def made(config, **changes):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    add_adapters(model, lora(**changes), seed=0)
    return model


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (LlamaConfig(**SIZES, intermediate_size=64), ["down_proj", "gate_proj", *ATTENTION, "up_proj"]),
        (EXPERTS, ATTENTION),
        (GPT2Config(n_embd=32, n_layer=1, n_head=2), ["c_attn", "c_fc", "c_proj"]),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_every_linear_layer_but_the_output_layer_has_one(config, layers):
    assert adapted(made(config)) == sorted(layers)


def test_experts_that_are_one_tensor_cannot_be_named():
    with pytest.raises(DataError, match="names gate_proj, which is no layer of this model"):
        made(EXPERTS, target_modules=("gate_proj",))


def test_an_output_layer_that_is_the_embedding_too_is_refused():
    config = LlamaConfig(**SIZES, intermediate_size=64, tie_word_embeddings=True)
    with pytest.raises(DataError, match="names lm_head, but this model's embedding and output layer are one weight"):
        made(config, target_modules=("lm_head",))
    assert adapted(made(LlamaConfig(**SIZES, intermediate_size=64), target_modules=("lm_head",))) == ["lm_head"]
