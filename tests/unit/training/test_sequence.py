"""Stretches of a micro-batch's rows: together they are the batch, and which models can be divided so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tracelift_ray.training.microbatches import collate
from tracelift_ray.training.sequence import SequenceGroup, obstacle
from tracelift_ray.types import TrainSample

SAMPLES = [
    TrainSample((1, 2, 3), (4, 5, 6, 7), (0.0,) * 4, 1.0),
    TrainSample((8,), (9, 10), (0.0,) * 2, 1.0),
    TrainSample((11, 12), (13,), (0.0,), 1.0),
]


@pytest.mark.parametrize("size", [2, 3, 5, 9])
def test_the_stretches_of_all_ranks_are_the_batch_and_predict_each_token_once(size: int) -> None:
    batch = collate(SAMPLES, [1.0] * 3, torch.device("cpu"))
    parts = [SequenceGroup(None, rank, size).stretch(batch) for rank in range(size)]
    ids, positions = (
        torch.cat([getattr(part, name) for part, _ in parts], dim=1) for name in ("input_ids", "position_ids")
    )
    width = batch.input_ids.shape[1]
    assert torch.equal(ids[:, :width], batch.input_ids) and not ids[:, width:].any()
    assert torch.equal(positions, torch.arange(positions.shape[1]).expand_as(positions))
    assert sorted(torch.cat([mine for _, mine in parts]).tolist()) == list(range(len(batch.targets)))
    for part, mine in parts:
        assert torch.equal(part.targets, batch.targets[mine]) and int(part.chosen.sum()) == len(mine)
        # A position predicts the token after it, which may be on the next rank.
        rows, columns = part.chosen.nonzero(as_tuple=True)
        assert torch.equal(ids[rows, part.position_ids[rows, columns] + 1], part.targets)


def model(**settings: Any) -> Any:
    config = SimpleNamespace(num_attention_heads=4, **settings)
    config.get_text_config = lambda: config
    return SimpleNamespace(config=config)


@pytest.mark.parametrize(
    ("settings", "size", "cause"),
    [
        ({}, 2, ""),
        ({"sliding_window": None, "layer_types": ["full_attention"] * 2}, 4, ""),
        ({}, 3, "its 4 attention heads do not divide by it"),
        ({"sliding_window": 128}, 2, "not all of its layers attend to whole rows"),
        ({"layer_types": ["full_attention", "linear_attention"]}, 2, "not all of its layers attend to whole rows"),
    ],
)
def test_a_model_that_cannot_be_divided_is_known_by_its_configuration(
    settings: dict[str, Any], size: int, cause: str
) -> None:
    assert obstacle(model(**settings), size) == cause
