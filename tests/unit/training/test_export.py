"""The order in which weights leave the learner."""

from types import SimpleNamespace

import torch
from torch import nn

from tracelift_ray.training.export import largest_last, named_tensors


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
    sent = dict(named_tensors(model, bucket_mib=1))
    assert list(sent) == names
    assert all(torch.equal(sent[name], parameter) for name, parameter in model.named_parameters())


def test_a_divided_parameter_counts_with_its_full_size():
    divided = SimpleNamespace(ds_numel=100, numel=lambda: 0)
    whole = nn.Parameter(torch.zeros(50))
    assert [name for name, _ in largest_last([("divided", divided), ("whole", whole)])] == ["whole", "divided"]


def test_a_model_without_parameters_has_none():
    assert largest_last([]) == []
