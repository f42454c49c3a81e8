from types import SimpleNamespace

import pytest
import torch

from tracelift_ray.errors import DataError
from tracelift_ray.training.microbatches import check_batch, check_packing, collate, completion_logits
from tracelift_ray.types import TrainBatch, TrainSample

SAMPLES = (
    TrainSample((11, 12, 13), (14, 15), (-0.1, -0.2), 1.0),
    TrainSample((21,), (22, 23, 24), (-0.3, -0.4, -0.5), -2.0),
)
CPU = torch.device("cpu")


class NextToken(torch.nn.Module):
    """Predicts, at each position, its own token plus one; ``leaky`` lets a row's first token decide instead."""

    def __init__(self, leaky: bool = False) -> None:
        super().__init__()
        self.leaky = leaky

    def forward(self, input_ids, attention_mask, position_ids, use_cache, logits_to_keep):
        seen = input_ids[:, :1].expand_as(input_ids) if self.leaky else input_ids
        logits = torch.nn.functional.one_hot(seen + 1, 40).float()
        return SimpleNamespace(logits=logits[:, -logits_to_keep:])


@pytest.mark.parametrize("packed", [False, True])
def test_each_completion_token_is_predicted_from_the_token_before_it(packed):
    batch = collate(SAMPLES, (0.5, 0.25), CPU, packed=packed)
    assert batch.targets.tolist() == [14, 15, 22, 23, 24]
    assert completion_logits(NextToken(), batch).argmax(-1).tolist() == [14, 15, 22, 23, 24]
    assert batch.behaviour.tolist() == pytest.approx([-0.1, -0.2, -0.3, -0.4, -0.5])
    assert batch.advantages.tolist() == [1.0, 1.0, -2.0, -2.0, -2.0]
    assert batch.weights.tolist() == [0.5, 0.5, 0.25, 0.25, 0.25]


def test_padding_is_on_the_right_and_masked():
    batch = collate(SAMPLES, (1.0, 1.0), CPU)
    assert batch.input_ids.tolist() == [[11, 12, 13, 14, 15], [21, 22, 23, 24, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.position_ids is None


def test_packed_rows_restart_their_positions():
    batch = collate(SAMPLES, (1.0, 1.0), CPU, packed=True)
    assert batch.input_ids.tolist() == [[11, 12, 13, 14, 15, 21, 22, 23, 24]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3]]
    assert batch.attention_mask is None


@pytest.mark.parametrize("packed", [False, True])
def test_only_positions_from_the_shortest_prompts_end_on_need_logits(packed):
    samples = [TrainSample((1,) * 30, (2, 3), (0.0, 0.0), 1.0), TrainSample((1,) * 28, (2,), (0.0,), 1.0)]
    batch = collate(samples, (1.0, 1.0), CPU, packed=packed)
    assert batch.kept == (61 if packed else 5)
    assert batch.chosen.sum() == 3


@pytest.mark.parametrize("packed", [False, True])
def test_an_empty_micro_batch_is_a_row_without_completion_tokens(packed):
    batch = collate((), (), CPU, packed=packed)
    assert batch.input_ids.shape == (1, 1) and completion_logits(NextToken(), batch).shape == (0, 40)


def test_a_model_that_mixes_packed_samples_is_refused():
    check_packing(NextToken(), CPU)
    with pytest.raises(DataError, match=r"use learner\.layout=padded"):
        check_packing(NextToken(leaky=True), CPU)


def test_batches_that_cannot_be_trained_on_are_refused_with_the_reason():
    check_batch(TrainBatch(SAMPLES, 2, 5))
    with pytest.raises(ValueError, match="counts 1 traces and 5 tokens, but holds 2 samples with 5"):
        check_batch(TrainBatch(SAMPLES, 1, 5))
    with pytest.raises(ValueError, match="2 completion tokens but 1 behaviour log-probs"):
        check_batch(TrainBatch((TrainSample((1,), (2, 3), (-0.1,), 1.0),), 1, 2))
    with pytest.raises(ValueError, match="not finite"):
        check_batch(TrainBatch((TrainSample((1,), (2,), (float("-inf"),), 1.0),), 1, 1))
    with pytest.raises(ValueError, match="empty prompt or completion"):
        check_batch(TrainBatch((TrainSample((1,), (), (), 1.0),), 1, 1))
