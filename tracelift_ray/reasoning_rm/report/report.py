"""The report on whether a reward model is honest: against what needs no understanding, and over a training run.

On held-out groups the model is put beside a model that is shown the trace alone, a rule that looks at the length
alone, and a language model's likelihood of the trace: what these reach can be had without judging the reasoning. On a
run's own traces its score is followed beside success, uplift and an independent judge.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from tracelift_ray.config.models import ReasoningRmConfig
from tracelift_ray.data.rubric_records import RubricRecord, load_rubric_records
from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.model.batching import InputEncoder
from tracelift_ray.reasoning_rm.model.prefixes import check_shared_prefixes
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel, shows_problem
from tracelift_ray.reasoning_rm.report.drift import Drift, RunTrace, measure_drift, read_run
from tracelift_ray.reasoning_rm.report.likelihood import TraceLikelihood
from tracelift_ray.reasoning_rm.report.rankings import Interval, Ranking, advantage, rank_by
from tracelift_ray.reasoning_rm.report.settings import RmReportConfig
from tracelift_ray.reasoning_rm.scoring.kinds import build_scorer
from tracelift_ray.reasoning_rm.training.data import encode_groups, split_groups
from tracelift_ray.reasoning_rm.training.metrics import RmMetrics, ScoredGroup, measure
from tracelift_ray.reasoning_rm.training.passes import score_groups
from tracelift_ray.tracking.alive import Heartbeat, heartbeat
from tracelift_ray.tracking.run_dir import write_whole

Say = Callable[[str], None]
REWARD_MODEL, TRACE_ONLY, LIKELIHOOD, LENGTH = "reasoning RM", "trace only", "likelihood", "length"
#: Traces that the judge is asked about at a time.
_JUDGED_AT_ONCE = 64


@dataclass(frozen=True)
class HeldOutReport:
    """The model on held-out groups.

    Attributes:
        rankings: of the reward model first, then of what it is compared with.
        advantages: of the reward model over each of the others, in share of pairs, by name.
    """

    metrics: RmMetrics
    rankings: tuple[Ranking, ...]
    advantages: dict[str, Interval]


@dataclass(frozen=True)
class RmReport:
    """A whole report; a part that was not asked for is None."""

    model: str
    heldout: HeldOutReport | None
    drift: Drift | None


def make_report(config: RmReportConfig, say: Say) -> RmReport:
    """Measures what the configuration asks for.

    Raises:
        DataError: a model, the groups or the run cannot be used.
        ConfigError: ``share_prefixes`` does not suit a backbone.
        InfrastructureError: the judge failed.
    """
    with heartbeat(say, "reading") as beat:
        return _report(config, beat)


def _report(config: RmReportConfig, beat: Heartbeat) -> RmReport:
    drift = None
    if config.run is not None:
        traces = read_run(config.run)
        beat.say(f"{len(traces)} scored traces in {config.run}")
        if config.judge is not None:
            traces = asyncio.run(judge_traces(traces, config.judge, config.judge_traces, beat))
        drift = measure_drift(traces, config.windows)
    heldout = None if config.groups is None else _held_out(config, _groups(config, config.groups, beat), beat)
    return RmReport(config.model, heldout, drift)


def write_report(report: RmReport, config: RmReportConfig, table: str) -> Path:
    """Writes ``report.json``, ``report.md`` (``table``) and ``report.png``; returns their directory."""
    from tracelift_ray.reasoning_rm.figures import draw_report

    out = Path(config.out) if config.out is not None else Path(config.model) / "report"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "report.json", json.dumps(_plain(report), indent=1) + "\n")
        write_whole(out / "report.md", table)
        draw_report(report, out / "report.png")
    except OSError as error:
        raise DataError(f"out={out} cannot be written: {error.strerror or error}") from error
    return out


async def judge_traces(
    traces: Sequence[RunTrace], config: ReasoningRmConfig, count: int, beat: Heartbeat
) -> list[RunTrace]:
    """The traces, ``count`` of them, evenly over the run, with the judge's score.

    Raises:
        InfrastructureError: the judge could not be asked, or gave no score.
    """
    count = min(count, len(traces))
    chosen = [len(traces) * number // count for number in range(count)]
    scorer = build_scorer(config)
    judged = list(traces)
    try:
        beat.doing("loading the judge")
        await scorer.start()
        for start in range(0, len(chosen), _JUDGED_AT_ONCE):
            beat.doing("asking the judge, traces", start, count)
            places = chosen[start : start + _JUDGED_AT_ONCE]
            scores = await asyncio.gather(*(scorer.score(traces[at].problem, traces[at].reasoning) for at in places))
            for at, score in zip(places, scores, strict=True):
                judged[at] = replace(traces[at], judge=score.score)
    finally:
        await scorer.close()
    return judged


def _groups(config: RmReportConfig, path: str, beat: Heartbeat) -> list[RubricRecord]:
    loaded = load_rubric_records(path)
    beat.say(loaded.report.summary())
    groups = list(loaded.records)
    if config.heldout_fraction < 1:
        groups = split_groups(groups, config.heldout_fraction)[1]
    groups = groups[: config.limit or None]
    if not groups:
        raise DataError(f"{path} holds no usable group")
    return groups


def _held_out(config: RmReportConfig, groups: Sequence[RubricRecord], beat: Heartbeat) -> HeldOutReport:
    beat.begin(f"scoring {len(groups)} held-out groups with {config.model}")
    scored, names = _scored(config, config.model, groups, beat)
    rankings = [rank_by(REWARD_MODEL, scored, lambda trace: trace.score)]
    if config.trace_only is not None:
        beat.begin(f"scoring them with {config.trace_only}")
        blind, _ = _scored(config, config.trace_only, groups, beat, trace_only=True)
        rankings.append(rank_by(TRACE_ONLY, blind, lambda trace: trace.score))
    if config.backbone is not None:
        beat.begin(f"asking {config.backbone} how likely they are")
        likely = _likelihoods(config, config.backbone, groups, scored, beat)
        rankings.append(rank_by(LIKELIHOOD, likely, lambda trace: trace.score))
    longer = rank_by(LENGTH, scored, lambda trace: trace.length)
    shorter = rank_by(LENGTH, scored, lambda trace: -trace.length)
    rankings.append(max(longer, shorter, key=lambda ranking: ranking.pairs.value))
    others = rankings[1:]
    advantages = {ranking.name: advantage(rankings[0], ranking) for ranking in others}
    return HeldOutReport(measure(scored, names), tuple(rankings), advantages)


def _scored(
    config: RmReportConfig, path: str, groups: Sequence[RubricRecord], beat: Heartbeat, trace_only: bool = False
) -> tuple[list[ScoredGroup], tuple[str, ...]]:
    """What the reward model in ``path`` says of the groups, and its dimensions."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = ReasoningRewardModel.from_pretrained(path, device=device)
    shown = shows_problem(model.config)
    if trace_only and shown:
        raise DataError(f"trace_only={path} is a model that is shown the problem; train one with show_problem=false")
    if config.share_prefixes:
        check_shared_prefixes(model.model)
    encoder = InputEncoder.load(path, config.max_length, show_problem=shown)
    scored = score_groups(
        model,
        encode_groups(groups, encoder, config.max_tests),
        encoder.pad_id,
        batch_tokens=config.batch_tokens,
        share_prefixes=config.share_prefixes,
        dtype=config.dtype,
        watch=partial(beat.doing, f"scoring with {path}, groups"),
    )
    return scored, tuple(model.config.rm_dimension_names)


def _likelihoods(
    config: RmReportConfig,
    path: str,
    groups: Sequence[RubricRecord],
    scored: Sequence[ScoredGroup],
    beat: Heartbeat,
) -> list[ScoredGroup]:
    """The scored groups with the likelihood of each trace in the place of its score."""
    model = TraceLikelihood(path, config.dtype, config.max_length)
    result: list[ScoredGroup] = []
    for group, known in zip(groups, scored, strict=True):
        beat.doing(f"asking {path}, groups", len(result), len(groups))
        values = model.of(group.problem.statement, [trace.reasoning for trace in group.traces])
        traces = [replace(trace, score=value) for trace, value in zip(known.traces, values, strict=True)]
        result.append(known.with_traces(traces))
    return result


def _plain(report: RmReport) -> dict[str, object]:
    """For JSON; without each group's counts, which only the intervals need."""
    values = dataclasses.asdict(report)
    for ranking in (values["heldout"] or {}).get("rankings", ()):
        del ranking["by_group"]
    return values
