"""What a person who watches a run should hear of, with what to do: a table of rules over the metrics of recent steps.

Pure. A rule looks at the newest ``WINDOW`` steps, that of the reward at ``LONG_WINDOW``, and compares halves or looks
for a value that stays; with fewer steps than it needs it says nothing. The metrics that it names are explained in
``docs/dashboards.md``.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

#: Steps that most rules look at.
WINDOW = 20
#: Steps that any rule looks at; the caller may keep more. In half of them noise hides what a run gains meanwhile.
LONG_WINDOW = 40
#: Steps in a row for what stays as it is.
ROW = 5
#: Calls that wait for a pool on average while it holds others up.
LONG_QUEUE = 2.0

Steps = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Alarm:
    """One thing to look at.

    Attributes:
        kind: the same for the same thing at different times, so that it is not said again and again.
        text: what is seen, and what to do.
    """

    kind: str
    text: str


def alarms(steps: Steps) -> list[Alarm]:
    """What the metrics of the last training steps, oldest first, give reason to say."""
    recent = list(steps)[-LONG_WINDOW:]
    return [*_reward_is_flat(recent), *(alarm for rule in RULES for alarm in rule(recent[-WINDOW:]))]


def _no_signal(steps: Steps) -> Iterator[Alarm]:
    last = _last(steps, "reward/signal")
    if len(last) == ROW and max(last) < 0.1:
        cure = "easier or harder problems, more traces in a group, or a higher planner.sampling.temperature"
        if statistics.fmean(_values(steps[-ROW:], "system/malformed") or [0.0]) > 0.5:
            cure = "most traces are malformed: a warm start teaches the planner to close its tag"
        yield Alarm(
            "no signal",
            f"all rewards are equal in {1 - statistics.fmean(last):.0%} of the groups of the last {ROW} steps; {cure}",
        )


def _reward_is_flat(steps: Steps) -> Iterator[Alarm]:
    rewards, spread = _values(steps, "reward/mean"), _values(steps, "reward/std")
    if len(rewards) < LONG_WINDOW or not spread:
        return
    middle = LONG_WINDOW // 2
    variances = (statistics.variance(half) for half in (rewards[:middle], rewards[middle:]))
    error = (sum(variances) / middle) ** 0.5
    before, after = _halves(rewards)
    if abs(after - before) < max(0.5 * error, 0.02 * statistics.fmean(spread)):
        yield Alarm(
            "flat reward",
            f"the reward stays at {after:+.3f} over {LONG_WINDOW} steps; a higher learner.lr, or look at reward/signal "
            "and learner/clip_fraction",
        )


def _leaks_rise(steps: Steps) -> Iterator[Alarm]:
    leaks = _values(steps, "system/leak")
    if len(leaks) < WINDOW:
        return
    before, after = _halves(leaks)
    if after > 0.1 and after > before + 0.05:
        yield Alarm(
            "leaks",
            f"traces that state the answer rose from {before:.0%} to {after:.0%}; reward.leak=mask hides it from the "
            "executor",
        )


def _rubric_alone_rises(steps: Steps) -> Iterator[Alarm]:
    scores, successes = _values(steps, "rubric/score"), _values(steps, "system/success")
    if len(scores) < WINDOW or len(successes) < WINDOW:
        return
    (score_before, score), (before, after) = _halves(scores), _halves(successes)
    if score > score_before + 0.1 and after < before + 0.02:
        yield Alarm(
            "rubric alone",
            f"the rubric's score rose from {score_before:.2f} to {score:.2f} while success went from {before:.2f} to "
            f"{after:.2f}: the reward model may be gamed; python -m launch.rm_report run=RUN shows for which flaws",
        )


def _mismatch_rises(steps: Steps) -> Iterator[Alarm]:
    gaps = _values(steps, "learner/mismatch_mean")
    if len(gaps) < 2 * ROW:
        return
    before, after = statistics.median(gaps[:-ROW]), statistics.median(gaps[-ROW:])
    if after > 0.01 and after > 2 * before:
        yield Alarm(
            "mismatch",
            f"engine and learner disagree by {after:.3f} nats a token, {before:.3f} before; a longer staleness, a "
            "precision or a kernel differs: see stream/staleness_max and weights/canary",
        )


def _a_pool_starves(steps: Steps) -> Iterator[Alarm]:
    """A pool that is idle most of the time while another one has a queue."""
    found = {name for step in steps[-ROW:] for name in step if re.fullmatch(r"pools/\w+/idle", name)}
    idle = {name.split("/")[1]: _last(steps, name) for name in found}
    queued = {pool: statistics.fmean(_values(steps[-ROW:], f"pools/{pool}/queued_mean") or [0.0]) for pool in idle}
    if not queued:
        return
    slowest = max(queued, key=lambda pool: queued[pool])
    if queued[slowest] < LONG_QUEUE:
        return
    for pool, shares in sorted(idle.items()):
        if pool != slowest and len(shares) == ROW and min(shares) > 0.6:
            yield Alarm(
                f"{pool} starves",
                f"the {pool} pool has nothing to do {statistics.fmean(shares):.0%} of the time while "
                f"{queued[slowest]:.1f} calls on average wait for the {slowest} pool; more {slowest}.pool.workers, or "
                "stream=asynchronous",
            )


#: Those over ``WINDOW`` steps.
RULES: tuple[Callable[[Steps], Iterator[Alarm]], ...] = (
    _no_signal,
    _leaks_rise,
    _rubric_alone_rises,
    _mismatch_rises,
    _a_pool_starves,
)


def _values(steps: Steps, name: str) -> list[float]:
    """Those of the steps that have the metric, oldest first."""
    return [step[name] for step in steps if name in step]


def _last(steps: Steps, name: str) -> list[float]:
    return _values(steps[-ROW:], name)


def _halves(values: Sequence[float]) -> tuple[float, float]:
    """The means of the first half and of the second."""
    middle = len(values) // 2
    return statistics.fmean(values[:middle]), statistics.fmean(values[middle:])
