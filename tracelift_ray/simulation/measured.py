"""The workload of a run that was made: what ``simulation.capacity`` needs to know, from the run's own metrics.

Means over all steps but the first, in which engines warm up, and those that evaluate, or over some of them. Seconds in
which a pool worked are shared among what it made, so a machine that was busy with other things shows in them. How an
engine's speed depends on the number of requests is fitted to how that number varied from step to step; where that shows
no speed of a request by itself, as on CPUs, an engine makes equally many tokens however many requests share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from statistics import fmean, linear_regression

from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.errors import DataError
from tracelift_ray.simulation.engines import Speed
from tracelift_ray.simulation.workload import Lengths, Seconds, Split, Workload
from tracelift_ray.tracking.history import RunHistory, load_history

#: Of a normal distribution, the standard deviations from the median to the 95th percentile.
P95 = 1.645


@dataclass(frozen=True)
class Measured:
    """A run as the simulation has it.

    Attributes:
        step_s: measured mean seconds of a step.
        steps: of the run, all that it has made.
    """

    work: Workload
    split: Split
    step_s: float
    staleness: float
    steps: int
    history: RunHistory

    def settings(self, algorithm: AlgorithmConfig, stream: StreamConfig) -> tuple[AlgorithmConfig, StreamConfig]:
        """``algorithm`` and ``stream`` with the batches and the staleness of the run."""
        groups, size = self.setting("algorithm.groups_per_step"), self.setting("algorithm.group_size")
        batch = replace(algorithm, groups_per_step=groups, group_size=size)
        return batch, replace(stream, max_staleness=self.setting("stream.max_staleness"))

    def setting(self, name: str) -> int:
        """A whole number of the run's configuration."""
        return _setting(self.history, name)


def measured(path: str, of: slice = slice(1, None)) -> Measured:
    """What a run directory says, by the steps ``of`` it, counted from 0, that made no evaluation.

    Raises:
        RunDirectoryError: it holds no run.
        DataError: these are fewer than two steps.
    """
    history = load_history(path)
    points = [each.metrics for each in history.training[of] if not each.metrics.get("time/evaluate")]
    if len(points) < 2:
        raise DataError(
            f"{path}: the metrics of {len(history.training)} steps say too little, 3 are the fewest without those "
            "that evaluate"
        )
    seconds = [point["time/step_s"] for point in points]

    def mean(name: str) -> float:
        """Mean over the time."""
        return sum(p.get(name, 0.0) * s for p, s in zip(points, seconds, strict=True)) / sum(seconds)

    def busy(pool: str) -> float:
        """Members' seconds of work in a second."""
        return (1 - mean(f"pools/{pool}/idle")) * mean(f"pools/{pool}/members")

    size = _setting(history, "algorithm.group_size")
    batch = _setting(history, "algorithm.groups_per_step") * size
    step_s, learner = fmean(seconds), _setting(history, "learner.num_workers")
    traces, tokens = mean("rates/planner_prompts_per_s"), mean("rates/planner_tokens_per_s")
    # Of a group's artifacts those that do not divide by its traces are the baseline's, which waits for no trace.
    drawn = max(size, round(mean("rates/verifier_runs_per_s") / traces * size))
    samples, baseline = divmod(drawn, size)
    artifacts = traces * drawn / size
    work = Workload(
        traces=_lengths(tokens / traces, points, "planner", history),
        artifacts=_lengths(mean("rates/executor_tokens_per_s") / artifacts, points, "executor", history),
        samples=samples,
        baseline=baseline,
        planner=_speed(points, "planner", busy("planner") / tokens, history),
        executor=_speed(points, "executor", busy("executor") / mean("rates/executor_tokens_per_s"), history),
        score_s=Seconds(busy("reasoning_rm") / traces, _spread(points, "reasoning_rm")),
        verify_s=Seconds(busy("verifier") / artifacts, _spread(points, "verifier")),
        verifiers=max(1, round(mean("pools/verifier/members"))),
        train_token_s=learner * mean("time/update") * step_s / (batch * tokens / traces),
        update_s=max(0.0, 1 - sum(mean(f"time/{name}") for name in ("rollout", "update", "broadcast"))) * step_s,
        prompt=0,  # its share is in the time of the trace's tokens
        broadcast_s=Seconds(mean("time/broadcast") * step_s, measured=_each(points, "time/broadcast")),
    )  # fmt: skip
    planner, executor, scorer = (
        max(1, round(mean(f"pools/{name}/members"))) for name in ("planner", "executor", "reasoning_rm")
    )
    stale = mean("stream/staleness_mean")
    return Measured(work, Split(planner, executor, scorer, learner), step_s, stale, len(history.training), history)


def _lengths(mean: float, points: list[Mapping[str, float]], pool: str, history: RunHistory) -> Lengths:
    """Log-normal; the spread is that of the time of calls."""
    return Lengths(mean, _spread(points, pool), _setting(history, f"{pool}.sampling.max_new_tokens"))


def _spread(points: list[Mapping[str, float]], pool: str) -> float:
    """Of the logarithm of the time of calls, from its percentiles; 0 where the pool was not called."""
    middle, late = (fmean(p.get(f"pools/{pool}/call_{name}_s", 0.0) for p in points) for name in ("p50", "p95"))
    return log(max(1.0, late / middle)) / P95 if middle > 0 else 0.0


def _each(points: list[Mapping[str, float]], name: str) -> tuple[float, ...]:
    """Seconds of a phase in each step."""
    return tuple(point.get(name, 0.0) * point["time/step_s"] for point in points)


def _speed(points: list[Mapping[str, float]], pool: str, busy_s: float, history: RunHistory) -> Speed:
    """Fitted to the steps, then scaled so that the run's tokens take ``busy_s`` each, all requests together."""
    held, token_s = [], []
    for point in points:
        worked = (1 - point[f"pools/{pool}/idle"]) * point[f"pools/{pool}/members"]
        if worked > 0 and point[f"rates/{pool}_tokens_per_s"] > 0:
            held.append(max(1.0, point[f"pools/{pool}/calls_per_s"] * point[f"pools/{pool}/call_p50_s"] / worked))
            token_s.append(held[-1] * worked / point[f"rates/{pool}_tokens_per_s"])
    beside, alone = linear_regression(held, token_s) if len(set(held)) > 1 else (0.0, 0.0)
    slots = _setting(history, f"{pool}.engine.max_num_seqs")
    if beside <= 0 or alone <= 0:
        return Speed(busy_s, busy_s, slots)
    scale = busy_s / fmean(alone / n + beside for n in held)
    return Speed((alone + beside) * scale, beside * scale, slots)


def _setting(history: RunHistory, name: str) -> int:
    return int(str(history.settings[name]))
