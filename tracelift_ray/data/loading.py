"""Loads records of any source one at a time and accounts for every fault: source, row, field, value and rule.

``strict`` loading raises one ``DataError`` that lists the first faults and counts all of them; ``skip`` leaves faulty
records out and reports the same figures.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

from tracelift_ray.config.schema import OnError
from tracelift_ray.data.fields import described
from tracelift_ray.data.rows import read_rows
from tracelift_ray.errors import DataError
from tracelift_ray.records import Record, RecordError

#: Faults that a message or report lists in full; the rest are counted by kind.
LISTED_FAULTS = 20
#: A strict load stops reading here: a file with more faults is not repaired one by one.
MAX_STRICT_FAULTS = 1_000
_SHORT = reprlib.Repr()
_SHORT.maxstring = 60
_SHORT.maxdict = _SHORT.maxlist = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """A record that was refused, and why.

    ``line`` is its row where the source has no lines; ``value`` a short rendering of the offending value, or empty.
    """

    path: str
    line: int
    kind: str
    field: str
    rule: str
    value: str = ""

    def __str__(self) -> str:
        found = f", found {self.value}" if self.value else ""
        return f"{self.path}:{self.line}: {self.field}: {self.rule}{found}"


@dataclass(frozen=True)
class LoadReport:
    """What became of one file.

    Attributes:
        format: the format that the records were read as.
        records: records seen (blank lines are none); reading stops early where a limit is reached.
        loaded: records that became values.
        faults: the first ``LISTED_FAULTS`` faults, in file order.
        fault_counts: number of faults by kind, most frequent first.
        cut: statements that were cut to the allowed length.
        same_text: loaded problems whose statement another loaded problem of the file has too.
        fields: those that were read from other places of the records, or are the same for all.
    """

    path: str
    format: str
    records: int
    loaded: int
    faults: tuple[Fault, ...] = ()
    fault_counts: tuple[tuple[str, int], ...] = ()
    cut: int = 0
    same_text: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def total_faults(self) -> int:
        return sum(count for _, count in self.fault_counts)

    def summary(self) -> str:
        """One line for people: counts, and the first fault where there is one."""
        form = f"{self.format}; {described(self.fields)}" if self.fields else self.format
        parts = [f"{self.path} ({form}): {self.loaded:,} of {self.records:,} records loaded"]
        if self.fault_counts:
            parts.append(f"{self.total_faults:,} refused ({_by_kind(self.fault_counts)}), first: {self.faults[0]}")
        if self.cut:
            parts.append(f"{self.cut:,} statements cut")
        if self.same_text:
            parts.append(f"{self.same_text:,} with the text of another")
        return "; ".join(parts)


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """The records of one file in its order, and what became of those that are faulty."""

    records: tuple[T, ...]
    report: LoadReport

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[T]:
        return iter(self.records)


@dataclass
class FaultLog:
    """Collects the faults of one file; the first few whole, all of them by kind."""

    path: str
    records: int = 0
    listed: list[Fault] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)

    def add(self, line: int, error: RecordError) -> None:
        self.by_kind[error.kind] += 1
        if len(self.listed) < LISTED_FAULTS:
            value = "" if error.value is None else _SHORT.repr(error.value)
            self.listed.append(Fault(self.path, line, error.kind, error.field, error.rule, value))

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        return tuple(self.by_kind.most_common())

    def report(self, format: str, loaded: int, *, cut: int = 0, same_text: int = 0) -> LoadReport:
        faults = tuple(self.listed)
        return LoadReport(self.path, format, self.records, loaded, faults, self.counts, cut, same_text)

    def fail(self, headline: str) -> NoReturn:
        """Raise a DataError: ``headline``, the counts, and the listed faults one a line; a single line where there is
        one fault, or every record has the same."""
        alike = {(fault.field, fault.rule) for fault in self.listed}
        if self.total == 1 or (self.total == self.records and len(alike) == len(self.by_kind) == 1):
            count = "" if self.total == 1 else f": {self.total:,} faults, one in each record"
            raise DataError(f"{self.listed[0]} ({headline.removeprefix(f'{self.path} ')}{count})")
        shown = "" if self.total <= len(self.listed) else f", the first {len(self.listed)}"
        lines = [f"{headline}: {self.total:,} faults ({_by_kind(self.counts)}){shown}:"]
        raise DataError("\n  ".join([*lines, *(str(fault) for fault in self.listed)]))


def load_records(
    path: str | Path,
    parse: Callable[[int, Record], T],
    *,
    what: str,
    on_error: OnError,
    limit: int = 0,
) -> tuple[tuple[T, ...], FaultLog]:
    """Read ``path`` through ``parse(line, record)``, which raises RecordError for a record that breaks a rule.

    Args:
        what: plural noun for messages, such as ``problems``.
        on_error: ``strict`` raises when any record read is at fault; ``skip`` leaves such records out.
        limit: stop after this many good records; 0 reads all.

    Raises:
        DataError: the file cannot be opened, is at fault under ``strict``, or holds nothing usable under either.
    """
    log = FaultLog(str(path))
    loaded: list[T] = []
    for line, record in read_rows(str(path)):
        log.records += 1
        try:
            if isinstance(record, RecordError):
                raise record
            loaded.append(parse(line, record))
        except RecordError as error:
            log.add(line, error)
            if on_error == "strict" and log.total >= MAX_STRICT_FAULTS:
                log.fail(f"{path} is refused; reading stopped at record {log.records:,}")
        if limit and len(loaded) >= limit:
            break
    if on_error == "strict" and log.total:
        log.fail(f"{path} is refused; on_error=skip leaves faulty records out")
    if not loaded:
        if log.total:
            log.fail(f"{path} holds no usable {what}")
        raise DataError(f"{path} holds no {what}: the file is empty")
    return tuple(loaded), log


def _by_kind(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in counts)
