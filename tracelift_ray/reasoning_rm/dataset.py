"""TraceLift-Groups as the reward model's training sees them: split by problem, tokenized, sampled by epoch.

Promises: a problem is held out or trained on by its id alone, whatever else is in the file; what an epoch shows
follows from seed and epoch alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracelift_ray.data.groups import GroupTrace, TraceGroup
from tracelift_ray.reasoning_rm.batching import EncodedInput, InputEncoder
from tracelift_ray.types import DataError, Problem, Task, rubric_dimensions


@dataclass(frozen=True)
class EncodedTrace:
    """A trace as RM input tokens, with its judgement."""

    input: EncodedInput
    labels: tuple[int, ...]
    total: float
    kind: str | None


@dataclass(frozen=True)
class EncodedGroup:
    """A problem's good and flawed traces, at least one of each."""

    positives: tuple[EncodedTrace, ...]
    negatives: tuple[EncodedTrace, ...]

    @property
    def traces(self) -> tuple[EncodedTrace, ...]:
        return (*self.positives, *self.negatives)


def is_held_out(problem_id: str, fraction: float) -> bool:
    """Whether a problem is kept for measuring: its id's hash falls into the first ``fraction`` of all hashes."""
    digest = hashlib.sha256(problem_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def split_groups(groups: Sequence[TraceGroup], fraction: float) -> tuple[list[TraceGroup], list[TraceGroup]]:
    """(trained on, held out), in order.

    Raises:
        DataError: one of the two is empty.
    """
    held = [group for group in groups if is_held_out(group.problem.id, fraction)]
    kept = [group for group in groups if not is_held_out(group.problem.id, fraction)]
    if not held or not kept:
        raise DataError(
            f"of {len(groups)} groups, {len(held)} are held out at heldout_fraction={fraction:g}; "
            "both parts need at least one: give more groups or another fraction"
        )
    return kept, held


def dimension_names(tasks: set[Task]) -> tuple[str, ...]:
    """Names for the five heads; where a model is for both tasks, each head has both names, ``math|code``."""
    columns = zip(*(rubric_dimensions(task) for task in sorted(tasks, reverse=True)), strict=True)
    return tuple("|".join(dict.fromkeys(names)) for names in columns)


def encode_groups(groups: Sequence[TraceGroup], encoder: InputEncoder, max_tests: int) -> list[EncodedGroup]:
    """Tokenizes every trace of every group, with at most ``max_tests`` tests of each problem (0: all)."""
    items = [
        (_with_tests(group.problem, max_tests), trace.reasoning)
        for group in groups
        for trace in (*group.positives, *group.negatives)
    ]
    inputs = iter(encoder.encode(items))

    def encoded(traces: Sequence[GroupTrace]) -> tuple[EncodedTrace, ...]:
        return tuple(EncodedTrace(next(inputs), t.labels, t.total, t.negative_kind) for t in traces)

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
