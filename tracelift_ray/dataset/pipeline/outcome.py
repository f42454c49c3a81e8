"""From what the stages made to the records of a data set: clean, split, and the account of it all.

Pure: the same drafts and settings give the same outcome, whenever and in how many attempts they were made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracelift_ray.data.rubric_records import RubricRecord
from tracelift_ray.data.split import Leakage, split_heldout, without_leaks
from tracelift_ray.dataset.pipeline.agreement import Agreement, agreement
from tracelift_ray.dataset.pipeline.clean import clean_traces
from tracelift_ray.dataset.pipeline.drafts import Draft
from tracelift_ray.dataset.settings import BuildGroupsConfig


@dataclass(frozen=True)
class Outcome:
    """The data set.

    Attributes:
        train, heldout: records in the order of their problems; no problem of one is in the other, by id or by text.
        left_out: why a problem makes no record, by the ids of such problems.
        dropped: traces that were made and not kept, by reason.
        leakage: records left out of train because a held-out problem has their text.
        agreement: of the two judges, where there were two.
    """

    train: tuple[RubricRecord, ...]
    heldout: tuple[RubricRecord, ...]
    left_out: Mapping[str, str]
    dropped: Counter[str]
    leakage: Leakage
    agreement: Agreement | None

    @property
    def records(self) -> tuple[RubricRecord, ...]:
        """All records."""
        return (*self.train, *self.heldout)

    def left_out_by_reason(self) -> list[tuple[str, int]]:
        """Problems without a record, the most frequent reason first."""
        return sorted(Counter(self.left_out.values()).items(), key=lambda item: (-item[1], item[0]))


def outcome_of(drafts: Sequence[Draft], config: BuildGroupsConfig, source: str) -> Outcome:
    """Clean the drafts and split what is left; ``source`` is what the records say of where their problems come from."""
    records: dict[str, RubricRecord] = {}
    left_out: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    made = {"traces": config.traces.kind, "flaws": config.perturb.kind, "judge": config.judge, "seed": config.seed}
    for draft in drafts:
        id = draft.problem.id
        if draft.refused is not None:
            left_out[id] = draft.refused
            continue
        cleaned = clean_traces(draft.problem, zip(draft.traces, draft.rubrics[0], strict=True), config.clean)
        dropped.update(cleaned.dropped)
        dropped.update(draft.discarded)
        if cleaned.refused is not None:
            left_out[id] = cleaned.refused
        else:
            records[id] = RubricRecord(draft.problem, cleaned.positives, cleaned.negatives, source, made)
    train, heldout = split_heldout([record.problem for record in records.values()], config.heldout_fraction)
    kept, leakage = without_leaks(train, heldout)
    of_train, of_heldout = (tuple(records[problem.id] for problem in side) for side in (kept, heldout))
    return Outcome(of_train, of_heldout, left_out, dropped, leakage, agreement(drafts))
