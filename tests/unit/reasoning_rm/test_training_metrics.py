"""Held-out metrics on groups small enough to count by hand."""

import pytest

from tracelift_ray.reasoning_rm.training.metrics import ScoredGroup, ScoredTrace, calibrate, measure, rank_correlation
from tracelift_ray.tasks.math import MathTask


def trace(
    score, *, kind=None, labels=(4, 4, 4, 4, 4), predicted=(4, 4, 4, 4, 4), total=1.0, predicted_total=1.0, length=10
):
    return ScoredTrace(labels, predicted, total, predicted_total, score, length, kind)


def test_pairs_and_groups_are_counted_over_all_traces():
    groups = [
        ScoredGroup((trace(0.9), trace(0.6)), (trace(0.5, kind="slip"), trace(0.7, kind="drop"))),
        ScoredGroup((trace(0.8),), (trace(0.1, kind="slip"),)),
    ]
    metrics = measure(groups, MathTask.dimensions)
    assert metrics.pair_accuracy == pytest.approx(4 / 5)  # only 0.6 against 0.7 is wrong
    assert metrics.group_accuracy == pytest.approx(1 / 2)
    assert metrics.mean_margin == pytest.approx((0.4 + 0.2 + 0.1 - 0.1 + 0.7) / 5)
    assert metrics.kind_accuracy == {"drop": (0.5, 2), "slip": (1.0, 3)}
    assert (metrics.groups, metrics.traces) == (2, 6)


def test_equal_scores_count_as_wrong():
    metrics = measure([ScoredGroup((trace(0.5),), (trace(0.5),))], MathTask.dimensions)
    assert metrics.pair_accuracy == 0 and metrics.group_accuracy == 0


def test_labels_and_totals_are_measured_over_good_and_bad_traces():
    good = trace(0.9, predicted=(4, 3, 4, 4, 4), total=1.0, predicted_total=0.8)
    bad = trace(0.1, labels=(0, 0, 0, 0, 0), predicted=(0, 0, 0, 0, 1), total=0.0, predicted_total=0.4)
    metrics = measure([ScoredGroup((good,), (bad,))], MathTask.dimensions)
    assert metrics.total_mae == pytest.approx(0.3)
    assert metrics.total_rmse == pytest.approx((0.2**2 / 2 + 0.4**2 / 2) ** 0.5)
    assert list(metrics.dimension_accuracy.values()) == [1.0, 0.5, 1.0, 1.0, 0.5]


def test_the_reference_is_the_best_that_can_be_had_without_reading():
    good = trace(0.9)
    bad = [trace(0.1, labels=(4, 0, 1, 2, 3), total=total) for total in (0.5, 0.4, 0.3)]
    reference = measure([ScoredGroup((good,), tuple(bad))], MathTask.dimensions).reference
    assert reference.pair_accuracy == 0.5
    assert reference.group_accuracy == pytest.approx(1 / 4)
    assert reference.total_mae == pytest.approx((0.55 + 0.05 + 0.05 + 0.15) / 4)
    assert reference.total_rmse == pytest.approx(((0.45**2 + 0.05**2 + 0.15**2 + 0.25**2) / 4) ** 0.5)
    assert list(reference.dimension_accuracy.values()) == [1.0, 0.75, 0.75, 0.75, 0.75]
    two = measure([ScoredGroup((good, good), tuple(bad[:2]))], MathTask.dimensions).reference
    assert two.group_accuracy == pytest.approx(1 / 6)  # two of four traces, in one of six places


def test_calibration_compares_what_was_predicted_with_what_was_judged():
    calibration = calibrate([0.11, 0.19, 0.95, 1.0], [0.0, 0.2, 0.5, 1.0])
    assert [(b.low, b.high, b.count) for b in calibration.bins] == [(0.1, 0.2, 2), (0.9, 1.0, 2)]
    assert [b.predicted for b in calibration.bins] == pytest.approx([0.15, 0.975])
    assert [b.judged for b in calibration.bins] == pytest.approx([0.1, 0.75])
    assert calibration.error == pytest.approx((2 * 0.05 + 2 * 0.225) / 4)


def test_length_bias_is_told_apart_from_problems_that_need_longer_traces():
    short = ScoredGroup((trace(0.2, length=10, total=0.5),), (trace(0.1, length=12, total=0.2),))
    long = ScoredGroup((trace(0.9, length=100, total=0.6),), (trace(0.8, length=102, total=0.1),))
    bias = measure([short, long], MathTask.dimensions).length_bias
    assert bias.score is not None and bias.score > 0.9  # long problems score higher
    assert bias.score_within == pytest.approx(-1.0)  # but the longer trace of each problem scores lower
    assert bias.judged_within is not None and bias.judged_within < -0.9
    same = measure([ScoredGroup((trace(0.9),), (trace(0.1),))], MathTask.dimensions).length_bias
    assert same.score is None and same.score_within is None


def test_rank_correlation_shares_ranks_among_equals():
    assert rank_correlation([1, 2, 3, 400], [10, 20, 30, 31]) == pytest.approx(1.0)
    assert rank_correlation([1, 1, 2], [5, 5, 9]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
