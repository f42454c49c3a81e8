"""The data card: a README beside the data that says what it holds, how it was made, and how to make it again.

Nothing in it depends on when or where it was made, so the same build writes the same card.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from tracelift_ray.data.rubric_records import MAX_LABEL, RubricRecord, RubricTrace
from tracelift_ray.dataset.pipeline.agreement import Agreement
from tracelift_ray.dataset.pipeline.outcome import Outcome
from tracelift_ray.dataset.settings import BuildGroupsConfig
from tracelift_ray.engines.kinds import served_model
from tracelift_ray.tasks.table import TASKS, task_of

_TRACES = {
    "data": "taken from the solutions that the problems come with, by rule",
    "llm": "reference solutions told as reasoning by a language model; what gives the solution away is refused",
    "sampled": "sampled from a model; kept are those with which the executor succeeds",
}
_FLAWS = {
    "rule": "put into the good traces by rule: each changes one place and what follows from it",
    "llm": "put into the good traces by a language model, one kind at a time; edits that are not local are refused",
}
_JUDGES = {
    "rule": "follow from the kind of the flaw and its place, by rule",
    "llm": "are a language model's, 0 to 10 for each dimension, read as labels in buckets of two",
    "both": "are a language model's, 0 to 10 for each dimension, read as labels in buckets of two; a second opinion "
    "by rule is compared below",
}


def data_card(
    outcome: Outcome, config: BuildGroupsConfig, *, source: str, problems: int, checksums: Mapping[str, str]
) -> str:
    """The card as markdown, of ``problems`` problems read as the format ``source``, with the SHA-256 of each data file
    by its name."""
    parts = [
        _head(outcome, config, source, problems, checksums),
        _making(config),
        *(task_section(task, outcome.records) for task in TASKS),
        _judges(outcome.agreement, outcome),
        _left_out(outcome, problems),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(outcome: Outcome, config: BuildGroupsConfig, source: str, problems: int, checksums: Mapping[str, str]) -> str:
    counts = {"train.jsonl": len(outcome.train), "heldout.jsonl": len(outcome.heldout)}
    files = [(name, counts[name], f"`{checksum}`") for name, checksum in checksums.items()]
    leaks = outcome.leakage.by_id + outcome.leakage.by_text
    return "\n\n".join(
        [
            "# TraceLift-Groups",
            f"For each of {len(outcome.records):,} problems, good traces and flawed ones, each with a rubric of five "
            "labels from 0 to 4 and a total from 0 to 1. One JSON object a line.",
            _table(("file", "groups", "SHA-256"), files),
            f"Which problems are held out (a share of {config.heldout_fraction:g}) follows from a hash of their ids. "
            f"Left out of train because a held-out problem has the same text: {leaks:,}.",
            f"**Problems**: {problems:,} of `{config.source}`, read as `{source}`. "
            f"**Licence**: {config.licence or 'not stated'}.",
        ]
    )


def _making(config: BuildGroupsConfig) -> str:
    lines = [
        f"- **Good traces** are {_TRACES[config.traces.kind]}.",
        f"- **Flaws** are {_FLAWS[config.perturb.kind]}.",
        f"- **Rubrics** {_JUDGES[config.judge]}.",
        f"- **Seed**: {config.seed}; every choice follows from it and the problem's id.",
    ]
    if config.traces.kind == "sampled":
        asked = config.traces
        lines.append(
            f"- **Sampling**: {asked.samples} traces of `{config.planner.model}` for each problem; kept are up to "
            f"{asked.keep} with which `{served_model(config.executor)}` succeeds in {asked.successes} of "
            f"{asked.executions} samples."
        )
    if config.asks_llm:
        lines.append(f"- **Language model**: `{served_model(config.llm)}`.")
    command = " ".join(["python -m launch.build_groups", *_overrides(config)])
    return "\n\n".join(["## How it was made", "\n".join(lines), f"```\n{command}\n```"])


def _overrides(config: BuildGroupsConfig) -> list[str]:
    """What the card's command says, beside the fields that few builds change."""
    keys = "source format out limit seed heldout_fraction traces.kind perturb.kind perturb.negatives judge "
    keys += "clean.min_negatives "
    if config.traces.kind == "sampled":
        keys += "planner.model planner.prompt executor.model executor.prompt "
    if config.asks_llm:
        keys += "llm.engine.kind llm.model llm.remote.base_url llm.remote.model"
    values = {key: "DIR" if key == "out" else attrgetter(key)(config) for key in keys.split()}
    said = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return [f"{key}={value}" for key, value in said.items() if value]


def task_section(task: str, records: Iterable[RubricRecord]) -> str:
    """The figures of one task: kinds, labels, lengths, and what a rule that looks at length alone would score. Empty
    where no record is of the task."""
    own = [record for record in records if record.task == task]
    good = [trace for record in own for trace in record.positives]
    flawed = [trace for record in own for trace in record.negatives]
    if not own:
        return ""
    totals: dict[str, list[float]] = defaultdict(list)
    wins: dict[str, list[float]] = defaultdict(list)
    for record in own:
        for trace in record.negatives:
            kind = trace.negative_kind or "unnamed"
            totals[kind].append(trace.total)
            wins[kind].append(_told_by_length(record, trace))
    figures = [(kind, len(won), _mean(totals[kind]), _mean(won)) for kind, won in wins.items()]
    kinds = [
        (f"`{kind}`", f"{count:,}", f"{count / len(flawed):.1%}", f"{total:.2f}", f"{won:.2f}")
        for kind, count, total, won in sorted(figures, key=lambda each: (-each[1], each[0]))
    ]
    every = _mean([win for won in wins.values() for win in won])
    kinds.append(("all", f"{len(flawed):,}", "100%", "", f"{every:.2f}"))
    labels = [
        (f"`{name}`", _label_counts(good, column), _label_counts(flawed, column))
        for column, name in enumerate(task_of(task).dimensions)
    ]
    return "\n\n".join(
        [
            f"## {task.capitalize()}",
            f"{len(own):,} groups with {len(good):,} good and {len(flawed):,} flawed traces.",
            _table(("kind of flaw", "traces", "share", "mean total", "told by length"), kinds),
            "*Told by length* is the share of pairs of a good and a flawed trace that are put in order by calling the "
            "longer one flawed: at 0.5, length tells nothing.",
            _table(("dimension", "good traces with label 0 1 2 3 4", "flawed traces with label 0 1 2 3 4"), labels),
            _table(
                ("characters", "5 % are below", "median", "5 % are above"),
                [("good", *_lengths(good)), ("flawed", *_lengths(flawed))],
            ),
        ]
    )


def _told_by_length(record: RubricRecord, flawed: RubricTrace) -> float:
    """The share of good traces that are shorter; a tie is counted as half."""
    gaps = [len(flawed.reasoning) - len(good.reasoning) for good in record.positives]
    return _mean([1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps])


def _label_counts(traces: Iterable[RubricTrace], column: int) -> str:
    counts = Counter(trace.labels[column] for trace in traces)
    return " ".join(f"{counts[label]:,}" for label in range(MAX_LABEL + 1))


def _lengths(traces: Iterable[RubricTrace]) -> list[str]:
    """The 5th, 50th and 95th percentile of the length."""
    lengths = sorted(len(trace.reasoning) for trace in traces)
    return [f"{lengths[round(share * (len(lengths) - 1))]:,}" for share in (0.05, 0.5, 0.95)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _judges(two: Agreement | None, outcome: Outcome) -> str:
    if two is None:
        return ""
    tasks = {record.task for record in outcome.records}
    columns = zip(*(task.dimensions for name, task in TASKS.items() if name in tasks), strict=True)
    names = (" / ".join(dict.fromkeys(column)) for column in columns)
    rows = [
        (name, f"{exact:.1%}", f"{near:.1%}")
        for name, exact, near in zip(names, two.exact, two.within_one, strict=True)
    ]
    order = "" if two.order is None else f" They put {two.order:.1%} of the pairs of a good and a flawed trace alike."
    return "\n\n".join(
        [
            "## Agreement of the two judges",
            f"{two.traces:,} traces have both rubrics. The totals differ by {two.total_error:.3f} on average.{order}",
            _table(("dimension", "same label", "at most one apart"), rows),
        ]
    )


def _left_out(outcome: Outcome, problems: int) -> str:
    dropped = sorted(outcome.dropped.items(), key=lambda item: (-item[1], item[0]))
    parts = ["## What was left out"]
    parts.append(f"{len(outcome.left_out):,} of {problems:,} problems make no group; `left_out.jsonl` names them.")
    for what, counts in (("problems", outcome.left_out_by_reason()), ("traces", dropped)):
        if counts:
            parts.append(_table((f"{what} because", what), [(reason, f"{count:,}") for reason, count in counts]))
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
