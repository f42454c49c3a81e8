"""Scores through the scorer: batching, order, duplicates, truncation, failures."""

import dataclasses

import pytest
import torch
from transformers import AutoTokenizer

from tracelift_ray.config.models import PoolConfig, ReasoningRmConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.model.batching import budget_batches
from tracelift_ray.reasoning_rm.model.inputs import render_input
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel, RewardModelError
from tracelift_ray.reasoning_rm.scoring.local import RubricScorer
from tracelift_ray.types import Problem

PROBLEMS = [Problem(id=str(i), task="math", statement=f"Add {i} and {2 * i}.", answer=str(3 * i)) for i in range(3)]
ITEMS = [(problem, "step " * count + problem.id) for problem in PROBLEMS for count in (0, 3, 9, 20)]


def config(model, **changes):
    pool = PoolConfig(1, 1.0, 0.0, 64, 60.0, 0)
    return dataclasses.replace(ReasoningRmConfig("model", model, "float32", 512, 700, None, None, pool), **changes)


def test_scores_are_the_same_alone_and_in_any_batch_and_keep_their_order(reward_model):
    scorer = RubricScorer(config(reward_model))
    alone = [scorer.score([item])[0] for item in ITEMS]
    for budget in (1, 700, 100_000):
        together = RubricScorer(config(reward_model, max_batch_tokens=budget)).score(ITEMS)
        assert [score.score for score in together] == pytest.approx([score.score for score in alone], abs=1e-5)
        for one, other in zip(together, alone, strict=True):
            assert one.labels == pytest.approx(other.labels, abs=1e-4)
    assert len({round(score.score, 5) for score in alone}) == len(ITEMS)


def test_scores_are_the_models(reward_model):
    model, tokenizer = ReasoningRewardModel.from_pretrained(reward_model), AutoTokenizer.from_pretrained(reward_model)
    encoded = tokenizer(render_input(*ITEMS[5]).text, return_tensors="pt")
    output = model(encoded["input_ids"], encoded["attention_mask"])
    (score,) = RubricScorer(config(reward_model)).score([ITEMS[5]])
    assert score.score == pytest.approx(output.score.item(), abs=1e-6)
    assert score.total == pytest.approx(output.total.item(), abs=1e-6)
    assert score.labels == pytest.approx(output.expected_labels[0].tolist(), abs=1e-5)


def test_each_distinct_pair_is_computed_once(reward_model):
    scorer = RubricScorer(config(reward_model, max_batch_tokens=10**6))
    rows: list[int] = []
    scorer._model.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    scores = scorer.score([ITEMS[0], ITEMS[1], ITEMS[0], ITEMS[0]])
    assert rows == [2]
    assert scores[0] == scores[2] == scores[3] != scores[1]


def test_an_input_that_is_cut_says_so(reward_model):
    long = (PROBLEMS[0], "word " * 200)
    short, cut = RubricScorer(config(reward_model, max_length=300)).score([ITEMS[0], long])
    assert (short.truncated, cut.truncated) == (False, True)
    (same,) = RubricScorer(config(reward_model, max_length=300)).score([(PROBLEMS[0], "word " * 400)])
    assert same.score == pytest.approx(cut.score, abs=1e-6)  # what was cut had no influence


def test_an_item_may_be_cut_shorter_than_the_others(reward_model):
    scorer = RubricScorer(config(reward_model))
    long = (PROBLEMS[0], "word " * 60)
    whole, cut, also = scorer.score([long, long, ITEMS[0]], max_lengths=[None, 200, 10_000])
    assert (whole.truncated, cut.truncated, also.truncated) == (False, True, False)
    (same,) = RubricScorer(config(reward_model, max_length=200)).score([long])
    assert cut.score == pytest.approx(same.score, abs=1e-6)
    assert abs(cut.score - whole.score) > 1e-6


def test_nothing_asked_is_nothing_answered(reward_model):
    assert RubricScorer(config(reward_model)).score([]) == []


def test_a_score_that_is_no_number_is_an_infrastructure_error(reward_model):
    scorer = RubricScorer(config(reward_model))
    assert scorer._model.total_head is not None
    with torch.no_grad():
        scorer._model.total_head.bias.fill_(float("nan"))
    with pytest.raises(InfrastructureError, match="not a number"):
        scorer.score(ITEMS[:1])


def test_a_failure_of_the_device_is_an_infrastructure_error(reward_model):
    scorer = RubricScorer(config(reward_model))
    scorer._model.total_head = torch.nn.Linear(7, 1)  # shapes that do not fit, as a broken device would give
    with pytest.raises(InfrastructureError, match="reasoning_rm: RuntimeError"):
        scorer.score(ITEMS[:1])


def test_a_missing_model_is_refused_in_one_line(tmp_path):
    with pytest.raises(RewardModelError, match="is not a directory"):
        RubricScorer(config(str(tmp_path / "nowhere")))


def test_batches_hold_every_position_once_within_the_budget():
    lengths = [3, 50, 7, 7, 20, 1, 20]
    batches = list(budget_batches(lengths, 40))
    assert sorted(position for batch in batches for position in batch) == list(range(7))
    assert all(len(batch) == 1 or len(batch) * max(lengths[p] for p in batch) <= 40 for batch in batches)
    assert batches[0] == [1]
