"""The order in which weights leave the learner, and who may read them."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tracelift_ray.training.export import gathered, largest_last, weights_of, write_model


def test_the_largest_come_last_and_the_others_keep_their_order():
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(50, 8),
            "first": nn.Linear(8, 4),
            "second": nn.Linear(4, 8),
            "head": nn.Linear(8, 50),
        }
    )
    names = [
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
        "head.bias",
        "embedding.weight",
        "head.weight",
    ]
    assert [name for name, _ in largest_last(model.named_parameters())] == names
    sent = dict(gathered(weights_of(model), bucket_mib=1))
    assert list(sent) == names
    assert all(torch.equal(sent[name], parameter) for name, parameter in model.named_parameters())


def test_a_divided_parameter_counts_with_its_full_size():
    divided = SimpleNamespace(ds_numel=100, numel=lambda: 0)
    whole = nn.Parameter(torch.zeros(50))
    assert [name for name, _ in largest_last([("divided", divided), ("whole", whole)])] == ["whole", "divided"]


def test_a_model_without_parameters_has_none():
    assert largest_last([]) == []


def test_saved_weights_have_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    before = os.umask(0o027)
    try:
        write_model(LlamaForCausalLM(config), tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640
