"""The loss against values worked out by hand."""

import math

import pytest
import torch

from tracelift_ray.reasoning_rm.model.reward_model import RubricOutput, expected_labels
from tracelift_ray.reasoning_rm.training.losses import RubricTargets, count_pairs, rubric_loss
from tracelift_ray.reasoning_rm.training.settings import LossSettings

WEIGHTS = LossSettings(1.0, 0.5, 0.7, 0.0, 0.15, 0.0)


def output_with(scores, totals=None, logits=None):
    """An output of given scores; uniform label logits and equal totals unless given."""
    score = torch.tensor(scores, requires_grad=True)
    total = torch.tensor(totals) if totals is not None else score
    return RubricOutput(torch.zeros(len(scores), 5, 5) if logits is None else logits, total, score, score)


def targets(sizes, totals=None, label=0):
    count = sum(sizes)
    return RubricTargets(
        torch.full((count, 5), label), torch.tensor(totals or [0.0] * count, dtype=torch.float32), tuple(sizes)
    )


def test_classification_is_summed_over_dimensions_and_averaged_over_traces():
    terms = rubric_loss(output_with([0.5, 0.5]), targets([2]), WEIGHTS, num_traces=2, num_groups=1, num_pairs=1)
    assert terms.classification.item() == pytest.approx(5 * math.log(5))


def test_regression_is_half_the_squared_error_of_the_total_below_delta_one():
    output = output_with([0.5, 0.5], totals=[0.8, 0.5])
    terms = rubric_loss(output, targets([2], [1.0, 0.2]), WEIGHTS, num_traces=2, num_groups=1, num_pairs=1)
    assert terms.regression.item() == pytest.approx((0.5 * 0.2**2 + 0.5 * 0.3**2) / 2)


def test_ranking_is_the_mean_over_negatives_and_then_over_groups():
    output = output_with([0.9, 0.4, 0.6, 0.3, 0.8])
    terms = rubric_loss(output, targets([3, 2]), WEIGHTS, num_traces=5, num_groups=2, num_pairs=1)
    first = (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(-0.3))) / 2
    second = math.log1p(math.exp(0.5))
    assert terms.ranking.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_negative_ranking_is_logistic_over_the_pairs_whose_totals_differ_by_the_margin():
    """Two groups: of the first's negatives the pairs are (0.75, 0.6), (0.75, 0.5) and no (0.6, 0.5); of the second's
    (0.4, 0.1). Better and worse come in any order; the positive takes no part."""
    output = output_with([0.9, 0.3, 0.5, 0.4, 0.8, 0.2, 0.7])
    totals = [1.0, 0.6, 0.75, 0.5, 1.0, 0.1, 0.4]
    negatives = ([0.6, 0.75, 0.5], [0.1, 0.4])
    pairs = count_pairs(negatives, 0.15)
    terms = rubric_loss(output, targets([4, 3], totals), WEIGHTS, num_traces=7, num_groups=2, num_pairs=pairs)
    gaps = (0.5 - 0.3, 0.5 - 0.4, 0.7 - 0.2)
    assert pairs == 3
    assert terms.negative_ranking.item() == pytest.approx(sum(math.log1p(math.exp(-g)) for g in gaps) / 3, rel=1e-5)
    assert count_pairs(negatives, 0.3) == 1 and count_pairs(([0.5, 0.5],), 0.0) == 0


def test_negative_ranking_adds_up_over_the_pieces_of_a_batch():
    scores, totals = [0.9, 0.3, 0.5, 0.8, 0.2, 0.7], [1.0, 0.6, 0.2, 1.0, 0.1, 0.4]
    counts = {"num_traces": 6, "num_groups": 2, "num_pairs": 2}
    whole = rubric_loss(output_with(scores), targets([3, 3], totals), WEIGHTS, **counts)
    parts = [
        rubric_loss(output_with(scores[i : i + 3]), targets([3], totals[i : i + 3]), WEIGHTS, **counts) for i in (0, 3)
    ]
    assert sum(part.negative_ranking.item() for part in parts) == pytest.approx(whole.negative_ranking.item())


def test_the_total_weighs_the_terms():
    weights = LossSettings(2.0, 3.0, 5.0, 7.0, 0.15, 0.0)
    output = output_with([0.9, 0.5, 0.4], totals=[0.1, 0.2, 0.3])
    terms = rubric_loss(output, targets([3], [1.0, 0.6, 0.2]), weights, num_traces=3, num_groups=1, num_pairs=1)
    expected = 2 * terms.classification + 3 * terms.regression + 5 * terms.ranking + 7 * terms.negative_ranking
    assert terms.total.item() == pytest.approx(expected.item())
    assert min(terms.classification, terms.regression, terms.ranking, terms.negative_ranking) > 0


def test_a_group_of_one_has_no_ranking():
    terms = rubric_loss(output_with([0.5]), targets([1]), WEIGHTS, num_traces=1, num_groups=1, num_pairs=1)
    assert terms.ranking.item() == 0 and terms.negative_ranking.item() == 0


def test_ranking_raises_the_positive_and_lowers_the_negatives():
    output = output_with([0.4, 0.6, 0.7])
    rubric_loss(
        output, targets([3]), LossSettings(0, 0, 1, 0, 0.15, 0), num_traces=3, num_groups=1, num_pairs=1
    ).total.backward()
    gradient = output.score.grad
    assert gradient[0] < 0 < min(gradient[1], gradient[2])


def test_expected_label_of_even_odds_between_two_labels():
    logits = torch.tensor([[0.0, -1e9, -1e9, -1e9, 0.0]])
    assert expected_labels(logits).item() == pytest.approx(2.0)
