"""The five questions that a person asks a run, in order, and the curves that answer them.

TensorBoard's custom scalars and the page of a report are made of this table; ``docs/dashboards.md`` explains it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        title: the question.
        well: what the curves look like when all is well.
        charts: the metrics of each chart, by its name; ``.*`` in a metric stands for tasks or pools.
        histograms: of a step's traces, by their titles.
        tables: of traces, by their names; W&B has them alone.
    """

    title: str
    well: str
    charts: Mapping[str, tuple[str, ...]]
    histograms: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()


#: The table of traces that a run sends to W&B now and then.
TRACES = "traces"
QUESTIONS = (
    Question(
        "Is it learning?",
        "Held-out accuracy and uplift rise, and the reward with them.",
        {
            "held-out accuracy": (r"evaluation/.*/accuracy",),
            "held-out uplift": (r"evaluation/.*/uplift",),
            "reward": ("reward/mean", "reward/min", "reward/max"),
            "success with the trace and without": ("system/success", "system/baseline"),
            "groups with signal": ("reward/signal",),
        },
    ),
    Question(
        "Is the reward honest?",
        "The rubric's score moves with uplift and held-out accuracy; leaks and malformed traces stay rare.",
        {
            "uplift and rubric": ("system/uplift", "rubric/score"),
            "leaks and malformed traces": ("system/leak", "system/malformed"),
            "length in tokens": ("system/trace_tokens",),
            "validity in the demo world": (r"evaluation/.*/trace_validity",),
        },
        {"rewards of traces": "distribution/reward", "uplifts of traces": "distribution/uplift"},
        (TRACES,),
    ),
    Question(
        "Is it on-policy?",
        "Staleness stays within its bound; engine and learner give the same log-probabilities.",
        {
            "staleness in versions": ("stream/staleness_mean", "stream/staleness_max"),
            "engine and learner, nats": ("learner/mismatch_mean", "learner/mismatch_max", "weights/canary"),
            "entropy in nats": ("learner/entropy",),
            "clipped and masked tokens": (
                *("learner/clip_fraction", "learner/truncated_fraction", "learner/masked_fraction"),
            ),
        },
        {"versions between a trace and its update": "distribution/staleness"},
    ),
    Question(
        "Is it fast?",
        "Steps take the same time throughout, most of it generation; no pool's queue grows.",
        {
            "seconds a step": ("time/step_s",),
            "shares of a step": ("time/rollout", "time/update", "time/broadcast", "time/save"),
            "tokens a second": (
                *("engine/tokens_per_s", "rates/planner_tokens_per_s", "rates/executor_tokens_per_s"),
                "learner/tokens_per_s",
            ),
            "learner, percent of the GPUs' peak": ("learner/peak_percent",),
            "prompts, verifier runs and scored traces a second": (
                *("rates/planner_prompts_per_s", "rates/executor_prompts_per_s"),
                *("rates/verifier_runs_per_s", "rates/scored_traces_per_s"),
            ),
            "queues, calls on average": (r"pools/.*/queued_mean",),
            "seconds in the queue, 50 and 95 of 100 calls within": (r"pools/.*/queue_p50_s", r"pools/.*/queue_p95_s"),
            "seconds at a member, 50 and 95 of 100 calls within": (r"pools/.*/call_p50_s", r"pools/.*/call_p95_s"),
            "share of the time without a call": (r"pools/.*/idle",),
            "seconds in which the planner waits for weights": ("weights/wait_s",),
            "traces in a batch of the reasoning RM": (r"processes/reasoning_rm/.*/batch_traces_mean",),
            "KV cache, percent in use at most": (r"processes/.*/kv_cache_percent",),
            "percent of prompt tokens found in the prefix cache": (r"processes/.*/prefix_cache_hit_percent",),
            "GPU, percent of the time busy": (r"processes/.*/gpu_percent",),
        },
    ),
    Question(
        "Is it healthy?",
        "All members are up, nothing is lost, and the gradient changes slowly.",
        {
            "members": (r"pools/.*/members",),
            "restarts, late calls and second tries": (
                *(r"pools/.*/restarts", r"pools/.*/late_calls", r"pools/.*/retried_calls"),
            ),
            "members lost, by cause": (r"faults/.*/died", r"faults/.*/unanswered", r"faults/.*/failed"),
            "nodes lost": ("faults/nodes",),
            "learner lost, and started again": ("faults/learner/lost", "faults/learner/restarts"),
            "cores kept busy, by process": (r"processes/.*/cpu_cores",),
            "memory in MiB, by process": (r"processes/.*/rss_mib",),
            "memory in percent, by node": (r"nodes/.*/memory_percent",),
            "GPU memory in percent, by process": (r"processes/.*/gpu_memory_percent",),
            "requests put back for want of KV cache": (r"processes/.*/preemptions",),
            "groups lost": ("stream/groups_failed", "stream/groups_dropped"),
            "gradient": ("learner/grad_norm", "learner/loss"),
        },
    ),
)

#: Which value of a run its summary is about, where it is not the last: the highest, or the lowest.
BEST = {
    r"evaluation/.*/(accuracy|uplift|trace_validity)": "max",
    r"(evaluation|system)/(.*/)?(leak|malformed|length_cut)": "min",
}


def best_of(metric: str) -> str | None:
    """``max`` or ``min`` for a metric of ``BEST``; None: its last value says how a run ended."""
    return next((best for pattern, best in BEST.items() if re.fullmatch(pattern, metric)), None)


def measured(metrics: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """The metrics of a chart that are among ``names``: labels that tell them apart, and their full names."""
    found = [name for metric in metrics for name in sorted(names) if re.fullmatch(metric, name)]
    parts = [name.split("/") for name in found]
    varying = [place for place in range(min(map(len, parts), default=0)) if len({each[place] for each in parts}) > 1]
    return {
        "/".join(each[place] for place in varying) or each[-1]: name for each, name in zip(parts, found, strict=True)
    }
