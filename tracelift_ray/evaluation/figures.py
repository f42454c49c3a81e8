"""The figures of an evaluation: what the planner's traces are worth to the executor, by benchmark, with intervals.

Pure. Accuracy is pass@1, the mean success rate of an attempt; intervals are over problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from tracelift_ray.evaluation.results import ProblemResult
from tracelift_ray.evaluation.statistics import Interval, PairedTest, bootstrap, paired_test, pass_at_k

#: By benchmark and problem.
Results = Mapping[tuple[str, str], ProblemResult]


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: see ``statistics.bootstrap``."""

    confidence: float
    resamples: int


@dataclass(frozen=True)
class BenchmarkFigures:
    """The figures of one benchmark; rates in [0, 1], uplift in [-1, 1].

    Attributes:
        problems: with a result.
        missing: without one, because of infrastructure errors.
        attempts: with a trace at each problem, and as many without.
        accuracy, baseline: pass@1 with a trace and without; ``uplift`` is the first minus the second.
        chance: mean success rate of a guess at the problems asked for; None where a guess has none.
        pass_at, baseline_pass_at: by k, for k above 1.
        malformed, length_cut, leak: shares of traces.
        trace_tokens: mean length of the planner's completion.
        rm_score: mean over the traces that were scored; None for none.
        checks: share of traces that pass each further check.
    """

    problems: int
    missing: int
    attempts: int
    accuracy: Interval
    baseline: Interval
    uplift: Interval
    pass_at: Mapping[int, Interval]
    baseline_pass_at: Mapping[int, Interval]
    malformed: float
    length_cut: float
    leak: float
    trace_tokens: float
    rm_score: float | None
    checks: Mapping[str, float] = field(default_factory=dict)
    chance: float | None = None

    def rows(self) -> dict[str, str]:
        """Names and values for a table."""
        rows = {"problems": f"{self.problems:,}", "attempts": str(self.attempts)}
        if self.missing:
            rows["without a result"] = f"{self.missing:,}"
        rows |= {"accuracy": shown(self.accuracy), "accuracy without trace": shown(self.baseline)}
        if self.chance is not None:
            rows["accuracy of a guess"] = f"{self.chance:.3f}"
        rows["uplift"] = shown(self.uplift, sign=True)
        for k, interval in self.pass_at.items():
            rows |= {f"pass@{k}": shown(interval), f"pass@{k} without trace": shown(self.baseline_pass_at[k])}
        rates = {"malformed": self.malformed, "length_cut": self.length_cut, "leak": self.leak, **self.checks}
        rows |= {name: f"{rate:.3f}" for name, rate in rates.items()}
        if self.rm_score is not None:
            rows["rm_score"] = f"{self.rm_score:.3f}"
        return rows | {"trace_tokens": f"{self.trace_tokens:.1f}"}


def benchmark_figures(
    results: Sequence[ProblemResult],
    missing: int,
    pass_at: Sequence[int],
    how: Resampling,
    chance: float | None = None,
) -> BenchmarkFigures:
    """The figures of one benchmark from its results, at least one.

    Args:
        chance: of a guess, over the problems asked for.
        pass_at: each k of pass@k; those above the number of attempts cannot be estimated and raise ValueError.
    """
    traces = [trace for result in results for trace in result.traces]
    scores = [trace.rm_score for trace in traces if trace.rm_score is not None]
    names = sorted({name for trace in traces for name in trace.checks})

    def over(k: int, *, with_trace: bool) -> Interval:
        tried = [result.successes if with_trace else result.baseline_successes for result in results]
        return _interval([pass_at_k(len(each), sum(each), k) for each in tried], how)

    larger = sorted({k for k in pass_at if k > 1})
    return BenchmarkFigures(
        problems=len(results),
        missing=missing,
        attempts=len(results[0].with_trace),
        accuracy=over(1, with_trace=True),
        baseline=over(1, with_trace=False),
        uplift=_interval([result.uplift for result in results], how),
        pass_at={k: over(k, with_trace=True) for k in larger},
        baseline_pass_at={k: over(k, with_trace=False) for k in larger},
        malformed=fmean(trace.malformed is not None for trace in traces),
        length_cut=fmean(trace.length_cut for trace in traces),
        leak=fmean(trace.leaked for trace in traces),
        trace_tokens=fmean(trace.tokens for trace in traces),
        rm_score=fmean(scores) if scores else None,
        checks={name: fmean(trace.checks.get(name, False) for trace in traces) for name in names},
        chance=chance,
    )


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same problems: ``problems`` that both have, and how they compare on them."""

    problems: int
    first: float
    second: float
    test: PairedTest

    def rows(self) -> dict[str, str]:
        """Names and values for a table."""
        return {
            "problems of both": f"{self.problems:,}",
            "accuracy": f"{self.first:.3f}",
            "accuracy of the other": f"{self.second:.3f}",
            "difference": shown(self.test.difference, sign=True),
            "solved here alone": str(self.test.only_first),
            "solved there alone": str(self.test.only_second),
            "p (McNemar, exact)": f"{self.test.p_value:.4f}",
        }


def compare(first: Results, second: Results, how: Resampling) -> dict[str, Comparison]:
    """Two evaluations by benchmark, on the problems that both have results of; benchmarks without any are left out."""
    found = {}
    for benchmark, (ours, theirs) in _of_both(first, second).items():
        attempts = [[result.successes for result in results] for results in (ours, theirs)]
        test = paired_test(*attempts, confidence=how.confidence, resamples=how.resamples)
        first_rate, second_rate = (fmean(result.accuracy for result in results) for results in (ours, theirs))
        found[benchmark] = Comparison(len(ours), first_rate, second_rate, test)
    return found


@dataclass(frozen=True)
class Transfer:
    """The same traces under the executor they were trained with and under another one, on the problems of both."""

    problems: int
    own_uplift: Interval
    other_uplift: Interval
    difference: Interval

    def rows(self) -> dict[str, str]:
        """Names and values for a table."""
        return {
            "problems": f"{self.problems:,}",
            "uplift, own executor": shown(self.own_uplift, sign=True),
            "uplift, other executor": shown(self.other_uplift, sign=True),
            "other minus own": shown(self.difference, sign=True),
        }


def transfer(own: Results, other: Results, how: Resampling) -> dict[str, Transfer]:
    """Uplift under both executors, by benchmark."""
    found = {}
    for benchmark, results in _of_both(own, other).items():
        ours, theirs = ([result.uplift for result in some] for some in results)
        differences = [b - a for a, b in zip(ours, theirs, strict=True)]
        found[benchmark] = Transfer(len(ours), *(_interval(each, how) for each in (ours, theirs, differences)))
    return found


def shown(interval: Interval, *, sign: bool = False) -> str:
    """An interval for people: ``0.684 [0.610, 0.752]``."""
    form = "+.3f" if sign else ".3f"
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def plain(figures: Mapping[str, BenchmarkFigures | Comparison | Transfer]) -> dict[str, Any]:
    """Figures by benchmark as plain JSON values."""
    return {name: asdict(each) for name, each in figures.items()}


def _interval(values: Sequence[float], how: Resampling) -> Interval:
    return bootstrap(values, confidence=how.confidence, resamples=how.resamples)


def _of_both(first: Results, second: Results) -> dict[str, tuple[list[ProblemResult], list[ProblemResult]]]:
    """The results of the problems that both have, in the order of the first, by benchmark."""
    found: dict[str, tuple[list[ProblemResult], list[ProblemResult]]] = {}
    for key in first:
        if key in second:
            ours, theirs = found.setdefault(key[0], ([], []))
            ours.append(first[key])
            theirs.append(second[key])
    return found
