"""From what the stages made to the records of a data set: clean, split, and the account of it all.

Pure: the same drafts and settings give the same outcome, whenever and in how many attempts they were made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.data.rubric_records import RubricRecord
from tracelift_ray.data.split import Leakage, split_heldout, without_leaks
from tracelift_ray.dataset.pipeline.agreement import Agreement, TwoOpinions, agreement
from tracelift_ray.dataset.pipeline.clean import clean_traces
from tracelift_ray.dataset.pipeline.drafts import Draft
from tracelift_ray.dataset.settings import BuildGroupsConfig


@dataclass(frozen=True)
class LeftOut:
    """A problem that makes no record."""

    problem_id: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """The data set.

    Attributes:
        train, heldout: records in the order of their problems; no problem of one is in the other, by id or by text.
        left_out: the problems without a record.
        dropped: traces that were made and not kept, by reason.
        leakage: records left out of train because a held-out problem has their text.
        agreement: of the two judges, where there were two.
    """

    train: tuple[RubricRecord, ...]
    heldout: tuple[RubricRecord, ...]
    left_out: tuple[LeftOut, ...]
    dropped: Counter[str]
    leakage: Leakage
    agreement: Agreement | None

    @property
    def records(self) -> tuple[RubricRecord, ...]:
        """All records."""
        return (*self.train, *self.heldout)

    def left_out_by_reason(self) -> list[tuple[str, int]]:
        """Problems without a record, the most frequent reason first."""
        return sorted(Counter(entry.reason for entry in self.left_out).items(), key=lambda item: (-item[1], item[0]))


def outcome_of(drafts: Sequence[Draft], config: BuildGroupsConfig, source: str) -> Outcome:
    """Clean the drafts and split what is left; ``source`` is what the records say of where their problems come from."""
    records: list[RubricRecord] = []
    left_out: list[LeftOut] = []
    dropped: Counter[str] = Counter()
    made = {"traces": config.traces.kind, "flaws": config.perturb.kind, "judge": config.judge, "seed": config.seed}
    for draft in drafts:
        if draft.refused is not None:
            left_out.append(LeftOut(draft.problem.id, draft.refused))
            continue
        cleaned = clean_traces(draft.problem, draft.positives, draft.negatives, config.clean)
        dropped.update(cleaned.dropped)
        dropped.update(draft.discarded or {})
        if cleaned.refused is not None:
            left_out.append(LeftOut(draft.problem.id, cleaned.refused))
            continue
        records.append(RubricRecord(draft.problem, cleaned.positives, cleaned.negatives, source, made))
    train, heldout, leakage = _split(records, config.heldout_fraction)
    opinions = [
        TwoOpinions(len(draft.positives), [each.rubric for each in (*draft.positives, *draft.negatives)], draft.second)
        for draft in drafts
        if draft.second
    ]
    return Outcome(train, heldout, tuple(left_out), dropped, leakage, agreement(opinions) if opinions else None)


def _split(
    records: Sequence[RubricRecord], fraction: float
) -> tuple[tuple[RubricRecord, ...], tuple[RubricRecord, ...], Leakage]:
    by_id = {record.problem.id: record for record in records}
    train, heldout = split_heldout([record.problem for record in records], fraction)
    kept, leakage = without_leaks(train, heldout)
    return tuple(by_id[p.id] for p in kept), tuple(by_id[p.id] for p in heldout), leakage
