"""Shared prefixes: the tree's shape, and that scores and gradients are those of separate rows."""

import pytest
import torch
from transformers import AutoModel

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.reasoning_rm.model.prefixes import build_tree, check_shared_prefixes, collate_trees, good_marks
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel
from tracelift_ray.reasoning_rm.training.losses import prefix_loss

ROWS = ([5, 6, 7, 8, 9], [5, 6, 7, 3, 9, 9], [5, 6, 4], [5, 6, 7, 8])


def padded(rows):
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def test_a_tree_has_each_prefix_once():
    tree = build_tree(ROWS)
    assert tree.token_ids == (5, 6, 7, 8, 9, 3, 9, 9, 4)
    assert tree.parents == (-1, 0, 1, 2, 3, 2, 5, 6, 1)
    assert tree.depths == (0, 1, 2, 3, 4, 3, 4, 5, 2)
    assert tree.ends == (4, 7, 8, 3)


def test_tokens_that_only_flawed_sequences_have_at_their_place_are_marked():
    assert build_tree(ROWS).shared == 2
    marks = good_marks([build_tree(ROWS), build_tree(([1, 2], [1, 3]))], "cpu")
    assert marks[0].tolist() == [-1, -1, 1, 1, 1, 0, 0, 0, 0]
    assert marks[1].tolist() == [-1, 1, 0, -1, -1, -1, -1, -1, -1]


def test_scores_and_gradients_are_those_of_separate_rows(reward_model):
    model = ReasoningRewardModel.from_pretrained(reward_model)
    others = ([9, 8, 7], [9, 8, 3])
    apart = model(*padded([*ROWS, *others])).score
    apart.square().sum().backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    tree = collate_trees([build_tree(ROWS), build_tree(others)], 0, "cpu")
    together = model(tree.input_ids, tree.attention_mask, position_ids=tree.position_ids, ends=tree.ends).score
    together.square().sum().backward()
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-3, atol=1e-6)


def test_a_backbone_that_does_not_follow_the_mask_is_refused(reward_model):
    backbone = AutoModel.from_pretrained(reward_model).eval()
    check_shared_prefixes(backbone)
    plain = backbone.forward
    backbone.forward = lambda attention_mask=None, **inputs: plain(**inputs)
    with pytest.raises(ConfigError, match=r"^share_prefixes=true: must be false"):
        check_shared_prefixes(backbone)


def test_good_and_flawed_tokens_weigh_the_same():
    logits = torch.tensor([[9.0, 1.0, -2.0, 3.0]])
    good = torch.tensor([[-1, 1, 0, 0]])
    loss = prefix_loss(logits, good, num_good=1, num_flawed=2)
    chances = torch.sigmoid(logits)[0]
    by_hand = -0.5 * chances[1].log() - 0.25 * (1 - chances[2]).log() - 0.25 * (1 - chances[3]).log()
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)
    assert prefix_loss(logits, torch.full((1, 4), -1), num_good=0, num_flawed=0).item() == 0
