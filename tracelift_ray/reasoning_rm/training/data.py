"""TraceLift-Groups as the reward model's training sees them: split by problem, tokenized, sampled by epoch.

Promises: problems are held out by a hash of their ids, as in runs; what an epoch shows follows from seed and epoch.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tracelift_ray.data.rubric_records import RubricRecord, RubricTrace, load_rubric_records
from tracelift_ray.data.split import split_heldout
from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.model.batching import EncodedInput, InputEncoder
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class EncodedTrace:
    """A trace as RM input tokens, with its judgement; ``length`` is that of the trace alone, in characters."""

    input: EncodedInput
    labels: tuple[int, ...]
    total: float
    kind: str | None
    length: int


@dataclass(frozen=True)
class TraceGroup(Generic[T]):
    """A problem's good and flawed traces, at least one of each, as values of one type."""

    positives: tuple[T, ...]
    negatives: tuple[T, ...]

    @property
    def traces(self) -> tuple[T, ...]:
        """The good ones first."""
        return (*self.positives, *self.negatives)

    def with_traces(self, values: Sequence[U]) -> TraceGroup[U]:
        """The group with other values for ``traces``, in their order."""
        return TraceGroup(tuple(values[: len(self.positives)]), tuple(values[len(self.positives) :]))


EncodedGroup = TraceGroup[EncodedTrace]


@dataclass(frozen=True)
class GroupData:
    """The groups of a run.

    Attributes:
        names: of the five heads.
    """

    train: tuple[RubricRecord, ...]
    heldout: tuple[RubricRecord, ...]
    names: tuple[str, ...]


def load_data(config: TrainRmConfig, say: Callable[[str], None]) -> GroupData:
    """Reads the groups of a run and divides them.

    Raises:
        DataError: a file cannot be read, one part is empty, or a problem is in both.
    """
    loaded = load_rubric_records(config.groups, config.on_error)
    say(loaded.report.summary())
    if config.heldout_groups is None:
        train, heldout = split_groups(loaded.records, config.heldout_fraction)
    else:
        other = load_rubric_records(config.heldout_groups, config.on_error)
        say(other.report.summary())
        train, heldout = list(loaded.records), list(other.records)
        _require_apart(train, heldout, config)
    tasks = {group.task for group in (*train, *heldout)}
    return GroupData(tuple(train), tuple(heldout), dimension_names(tasks))


def _require_apart(train: Sequence[RubricRecord], heldout: Sequence[RubricRecord], config: TrainRmConfig) -> None:
    """Raises DataError where one file is empty or both have a problem, by id or by text."""
    for path, groups in ((config.groups, train), (config.heldout_groups, heldout)):
        if not groups:
            raise DataError(f"{path} holds no usable group")
    seen = {key for group in train for key in (group.problem.id, _plain(group.problem.statement))}
    for group in heldout:
        if group.problem.id in seen or _plain(group.problem.statement) in seen:
            raise DataError(
                f"problem {group.problem.id} is in {config.groups} and in {config.heldout_groups}, so what is held "
                "out would be trained on; split by problem"
            )


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def split_groups(groups: Sequence[RubricRecord], fraction: float) -> tuple[list[RubricRecord], list[RubricRecord]]:
    """(trained on, held out), in order; the same problems are held out as in a run with this fraction.

    Raises:
        DataError: one of the two is empty.
    """
    train, heldout = split_heldout([group.problem for group in groups], fraction)
    if not train or not heldout:
        raise DataError(
            f"{len(groups)} groups at heldout_fraction={fraction:g} leave {len(train)} to train on and "
            f"{len(heldout)} held out; give at least two groups of a task"
        )
    held = {problem.id for problem in heldout}
    kept = [group for group in groups if group.problem.id not in held]
    return kept, [group for group in groups if group.problem.id in held]


def dimension_names(tasks: set[str]) -> tuple[str, ...]:
    """Names for the five heads; where a model is for both tasks, each head has both names, ``math|code``."""
    columns = zip(*(task_of(task).dimensions for task in sorted(tasks, reverse=True)), strict=True)
    return tuple("|".join(dict.fromkeys(names)) for names in columns)


def encode_groups(groups: Sequence[RubricRecord], encoder: InputEncoder, max_tests: int) -> list[EncodedGroup]:
    """Tokenizes every trace of every group, with at most ``max_tests`` tests of each problem (0: all)."""
    shown = [(_with_tests(group.problem, max_tests), trace.reasoning) for group in groups for trace in group.traces]
    inputs = iter(encoder.encode(shown))

    def encoded(traces: Sequence[RubricTrace]) -> tuple[EncodedTrace, ...]:
        return tuple(EncodedTrace(next(inputs), t.labels, t.total, t.negative_kind, len(t.reasoning)) for t in traces)

    return [EncodedGroup(encoded(group.positives), encoded(group.negatives)) for group in groups]


def sample_epoch(groups: Sequence[EncodedGroup], negatives: int, seed: int, epoch: int) -> Iterator[list[EncodedTrace]]:
    """Every group once, in random order: one of its positives, then up to ``negatives`` of its negatives."""
    rng = random.Random(f"reasoning_rm {seed} {epoch}")
    for group in rng.sample(groups, len(groups)):
        chosen = rng.sample(group.negatives, min(negatives, len(group.negatives)))
        yield [rng.choice(group.positives), *chosen]


def _with_tests(problem: Problem, limit: int) -> Problem:
    if problem.tests is None or not limit:
        return problem
    return dataclasses.replace(problem, tests=problem.tests.limited(limit))
