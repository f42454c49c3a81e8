import json

import pytest

from tests.unit.evaluation.cases import result
from tracelift_ray.evaluation.figures import Resampling, benchmark_figures, compare, plain, transfer

HOW = Resampling(0.95, 500)


def test_figures_are_means_over_problems_and_pass_at_k_is_unbiased() -> None:
    results = [result("a", "1100", "0000", leaked=True), result("b", "0000", "1000", malformed=True)]
    figures = benchmark_figures(results, 3, (1, 2), HOW)
    assert (figures.problems, figures.missing, figures.attempts) == (2, 3, 4)
    assert (figures.accuracy.mean, figures.baseline.mean, figures.uplift.mean) == (0.25, 0.125, 0.125)
    # Two successes of four: five of the six pairs hold one; one of four: three of six.
    assert figures.pass_at[2].mean == pytest.approx(5 / 12) and figures.baseline_pass_at[2].mean == pytest.approx(1 / 4)
    assert set(figures.pass_at) == {2}
    assert (figures.malformed, figures.leak, figures.trace_tokens, figures.rm_score) == (0.5, 0.5, 4.0, 0.5)
    assert figures.checks == {"ok": 1.0}
    assert figures.uplift.low == pytest.approx(-0.25) and figures.uplift.high == pytest.approx(0.5)


def test_the_table_says_what_is_missing_and_shows_intervals_with_signs() -> None:
    rows = benchmark_figures([result("a", "1", "0")], 2, (1,), HOW).rows()
    assert rows["without a result"] == "2" and rows["uplift"] == "+1.000 [+1.000, +1.000]"
    assert "without a result" not in benchmark_figures([result("a", "1", "0")], 0, (1,), HOW).rows()


def test_pass_at_more_than_there_are_attempts_is_refused() -> None:
    with pytest.raises(ValueError, match="too few attempts"):
        benchmark_figures([result("a", "10", "00")], 0, (3,), HOW)


def test_two_evaluations_are_compared_on_the_problems_of_both_by_benchmark() -> None:
    first = {each.key: each for each in (result("a", "1", "0"), result("b", "1", "0"), result("x", "0", "0"))}
    second = {each.key: each for each in (result("a", "0", "0"), result("b", "1", "0"), result("y", "1", "0"))}
    found = compare(first, second, HOW)
    assert set(found) == {"sums"}
    assert (found["sums"].problems, found["sums"].first, found["sums"].second) == (2, 1.0, 0.5)
    assert (found["sums"].test.only_first, found["sums"].test.only_second) == (1, 0)
    assert compare(first, {("others", "a"): result("a", "1", "0", benchmark="others")}, HOW) == {}


def test_transfer_compares_the_uplift_of_the_same_traces_under_two_executors() -> None:
    own = {each.key: each for each in (result("a", "11", "00"), result("b", "11", "10"))}
    other = {each.key: each for each in (result("a", "10", "00"), result("b", "11", "11"))}
    moved = transfer(own, other, HOW)["sums"]
    assert (moved.own_uplift.mean, moved.other_uplift.mean, moved.difference.mean) == (0.75, 0.25, -0.5)
    assert moved.rows()["other minus own"].startswith("-0.500")


def test_figures_are_plain_json() -> None:
    figures = {"sums": benchmark_figures([result("a", "10", "00")], 0, (1, 2), HOW)}
    assert json.loads(json.dumps(plain(figures)))["sums"]["pass_at"]["2"]["mean"] == 1.0
