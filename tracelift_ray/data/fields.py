"""Renames the fields of records, so that a file of any form can be read as a known one (``data.readings``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracelift_ray.records import Record, RecordError
from tracelift_ray.tasks.base import own_id

#: Begins a value that is meant as it stands, the same for every record.
CONSTANT = "="


def described(fields: Mapping[str, str]) -> str:
    """What is read from where, for people."""
    return ", ".join(
        f"{name} is {path.removeprefix(CONSTANT)}" if path.startswith(CONSTANT) else f"{name} from {path}"
        for name, path in fields.items()
    )


def with_fields(record: Record, fields: Mapping[str, str], named_by: str = "data.fields") -> Record:
    """The record with further fields, and with an ``id`` made of them where it has none.

    Args:
        fields: the path of each new field's value in the record, such as ``reward_model.ground_truth`` or
            ``messages.0.content``; or a constant, such as ``=math``.
        named_by: what names them, for messages.

    Raises:
        RecordError: the record has nothing at a path.
    """
    if not fields:
        return record
    found = {name: _value(record, path, named_by) for name, path in fields.items()}
    whole = {**record, **found}
    return whole if whole.get("id") is not None else {**whole, "id": own_id({}, "row", *map(str, found.values()))}


def _value(record: Record, path: str, named_by: str) -> Any:
    if path.startswith(CONSTANT):
        return path.removeprefix(CONSTANT)
    value: Any = record
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            at_hand = f"; there are {', '.join(map(str, value))}" if isinstance(value, Mapping) else ""
            raise RecordError("missing_field", path, f"{named_by} names it, and it is not there{at_hand}") from None
    return value
