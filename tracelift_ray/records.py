"""Reads typed fields out of one decoded JSON record; what is missing or of the wrong type is a RecordError.

Text comes back stripped, with Unix line ends, and is guaranteed to encode as UTF-8: a lone surrogate, which JSON
allows, would otherwise break a tokenizer hours later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
_MAX_ID_CHARS = 200


class RecordError(ValueError):
    """One record breaks one rule. The loader adds file and line.

    Args:
        kind: a short name that faults are counted by, such as ``no_tests``.
        field: the field at fault (dotted and indexed within the record), or ``record`` for all of it.
        rule: what would be right.
        value: the offending value, where showing it helps.
    """

    def __init__(self, kind: str, field: str, rule: str, value: object = None) -> None:
        super().__init__(kind, field, rule, value)
        self.kind = kind
        self.field = field
        self.rule = rule
        self.value = value


def required_text(record: Record, name: str, *, where: str = "") -> str:
    """The text of ``name``, stripped and not empty. ``where`` prefixes the field's name in messages."""
    field = where + name
    if record.get(name) is None:
        raise RecordError("missing_field", field, "is required")
    text = as_text(record[name], field)
    if not text:
        raise RecordError("empty_field", field, "must not be empty")
    return text


def optional_text(record: Record, name: str, *, where: str = "") -> str | None:
    """The text of ``name``, stripped; None where it is absent, null or empty."""
    if record.get(name) is None:
        return None
    return as_text(record[name], where + name) or None


def identifier(record: Record, name: str) -> str:
    """An id: a text of one line, or an integer, which becomes text."""
    value = record.get(name)
    if value is None:
        raise RecordError("missing_field", name, "is required")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = as_text(value, name)
    if not text or len(text) > _MAX_ID_CHARS or not text.isprintable():
        raise RecordError("bad_id", name, f"must be 1 to {_MAX_ID_CHARS} printable characters", value)
    return text


def scalar_text(value: Any, field: str) -> str:
    """Text as it is, or a number as text; references are published as either."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return as_text(value, field)


def as_text(value: Any, field: str) -> str:
    """``value`` as stripped text with Unix line ends."""
    return exact_text(value, field).replace("\r\n", "\n").strip()


def exact_text(value: Any, field: str) -> str:
    """``value`` as it stands (test input and output, where white space counts)."""
    if not isinstance(value, str):
        raise RecordError("wrong_type", field, "must be text", value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RecordError("not_utf8", field, "holds a lone surrogate, which is no text") from None
    return value


def items(value: Any, field: str) -> list[Any]:
    """``value`` as a list."""
    if not isinstance(value, list):
        raise RecordError("wrong_type", field, "must be a list", value)
    return value


def mapping(value: Any, field: str) -> Mapping[str, Any]:
    """``value`` as an object; absent and null count as an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RecordError("wrong_type", field, "must be an object", value)
    return value
