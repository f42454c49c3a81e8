"""The reasoning RM's training loss (paper, arXiv 2605.03862): classification, regression and ranking in one sum.

Every term is a sum over rows or groups divided by counts that the caller gives, so that the gradients of the pieces
of a batch add up to the gradient of the batch, however it is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tracelift_ray.reasoning_rm.model.reward_model import RubricOutput
from tracelift_ray.reasoning_rm.training.settings import LossSettings

_ROUNDING = 1e-6


@dataclass(frozen=True)
class RubricTargets:
    """What N traces should score. Rows lie group by group, each group's positive first, its negatives after it.

    Attributes:
        labels: (N, 5), whole numbers from 0 to num_labels - 1.
        totals: (N,) in [0, 1].
        sizes: rows of each group, so they sum to N.
    """

    labels: Tensor
    totals: Tensor
    sizes: tuple[int, ...]


class LossTerms(NamedTuple):
    """The terms before their weights, and the weighted sum; all scalars."""

    classification: Tensor
    regression: Tensor
    ranking: Tensor
    negative_ranking: Tensor
    total: Tensor


def rubric_loss(
    output: RubricOutput,
    targets: RubricTargets,
    weights: LossSettings,
    *,
    num_traces: int,
    num_groups: int,
    num_pairs: int,
) -> LossTerms:
    """The loss of some groups of a batch.

    With N rows here and ``num_traces``, ``num_groups``, ``num_pairs`` (``count_pairs``) over the whole batch:

    - classification: cross-entropy summed over the five dimensions, over ``num_traces``;
    - regression: Huber (delta 1) between the total head's sigmoid and the total label, over ``num_traces``;
    - ranking: -log sigmoid(q_pos - q_neg), mean over a group's negatives, over ``num_groups``;
    - negative_ranking: -log sigmoid(q_i - q_j) for negatives of a group with total_i - total_j >= margin, over
      ``num_pairs``.

    A group without negatives, or without two that differ so much, adds nothing to the ranking terms.
    """
    flat = output.label_logits.flatten(0, 1)
    classification = functional.cross_entropy(flat, targets.labels.flatten(), reduction="sum") / num_traces
    regression = functional.huber_loss(output.total, targets.totals, reduction="sum", delta=1.0) / num_traces
    scores, totals = output.score.split(targets.sizes), targets.totals.split(targets.sizes)
    ranking = torch.stack([_positive_ranking(group) for group in scores]).sum() / num_groups
    pairs = zip(scores, totals, strict=True)
    negatives = [_negative_ranking(s[1:], t[1:], weights.negative_margin) for s, t in pairs]
    negative = torch.stack(negatives).sum() / max(1, num_pairs)
    total = (
        weights.classification * classification
        + weights.regression * regression
        + weights.ranking * ranking
        + weights.negative_ranking * negative
    )
    return LossTerms(classification, regression, ranking, negative, total)


def count_pairs(groups: Iterable[Sequence[float]], margin: float) -> int:
    """The pairs of negatives that ``negative_ranking`` compares, from the total labels of each group's negatives."""
    return sum(len(_ordered_pairs(torch.tensor(totals), margin)[0]) for totals in groups)


def prefix_loss(good_logits: Tensor, good: Tensor, *, num_good: int, num_flawed: int) -> Tensor:
    """The auxiliary loss at every token of prefix trees: cross-entropy of "a good trace begins so", a scalar.

    A token that only flawed traces have at their place shows where the flaw is; so do tokens up to there, which good
    ones have too. Both kinds weigh the same in the whole batch, however many there are of each.

    Args:
        good_logits: (B, T).
        good: (B, T), 1 good, 0 flawed, -1 neither.
        num_good, num_flawed: of the whole batch; one that is 0 adds nothing.
    """
    good_terms = functional.softplus(-good_logits)[good == 1].sum() / max(1, num_good)
    flawed_terms = functional.softplus(good_logits)[good == 0].sum() / max(1, num_flawed)
    return 0.5 * (good_terms + flawed_terms)


def _positive_ranking(scores: Tensor) -> Tensor:
    """One group's scores, the positive first -> mean logistic loss of the positive over each negative."""
    if len(scores) < 2:
        return scores.new_zeros(())
    return -functional.logsigmoid(scores[0] - scores[1:]).mean()


def _negative_ranking(scores: Tensor, totals: Tensor, margin: float) -> Tensor:
    """One group's negatives -> summed logistic loss of the better over the worse of each pair that differs enough."""
    better, worse = _ordered_pairs(totals, margin)
    return -functional.logsigmoid(scores[better] - scores[worse]).sum()


def _ordered_pairs(totals: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Places of the better and of the worse of every pair whose totals differ by at least ``margin``, and differ."""
    gaps = totals[:, None] - totals[None, :]
    # Labels are decimals: 0.75 and 0.6 differ by a little less than 0.15 in float32.
    better, worse = torch.nonzero((gaps > 0) & (gaps >= margin - _ROUNDING), as_tuple=True)
    return better, worse
