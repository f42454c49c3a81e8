"""Rules that a field's type carries, as in ``workers: Annotated[int, AtLeast(1)]``; the loader holds values to them.

A rule knows whether a value keeps it and says in a clause what would be right. Small fixed choices need no rule: their
type is a ``Literal``. Types that many settings share have names here (``Count``, ``Positive``, …). Rules across fields
are in ``planning/checks.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal


class Rule:
    """What a value must keep.

    Attributes:
        holds: whether a value keeps it.
        right: what would be right, as a clause that begins with ``must``.
        brief: the same for a table of fields, such as ``≥ 1``.
        why: the reason, for messages; empty where the rule speaks for itself.
    """

    def __init__(self, holds: Callable[[Any], bool], right: str, brief: str, why: str = "") -> None:
        self.holds = holds
        self.right = right
        self.brief = brief
        self.why = why


class AtLeast(Rule):
    """A number that is ``least`` or more."""

    def __init__(self, least: float, why: str = "") -> None:
        super().__init__(lambda value: value >= least, f"must be {least:g} or more", f"≥ {least:g}", why)


class Above(Rule):
    """A number above ``bound``."""

    def __init__(self, bound: float) -> None:
        super().__init__(lambda value: value > bound, f"must be above {bound:g}", f"> {bound:g}")


class Between(Rule):
    """A number between two others. ``ends`` is an interval's brackets: ``[`` and ``]`` allow the bound itself."""

    def __init__(self, low: float, high: float, ends: Literal["[]", "[)", "(]", "()"] = "[]") -> None:
        above = AtLeast(low) if ends[0] == "[" else Above(low)

        def holds(value: Any) -> bool:
            return above.holds(value) and (value <= high if ends[1] == "]" else value < high)

        right = f"{above.right} and {'at most' if ends[1] == ']' else 'below'} {high:g}"
        if ends == "[]":
            right = f"must be from {low:g} to {high:g}"
        super().__init__(holds, right, f"{ends[0]}{low:g}, {high:g}{ends[1]}")


class Given(Rule):
    """Text that is not empty. ``what`` completes the clause ``must be``."""

    def __init__(self, what: str) -> None:
        super().__init__(lambda value: bool(value.strip()), f"must be {what}", "not empty")


class Address(Rule):
    """An http(s) address. Empty text stands for none; where one is needed, a check across fields says so."""

    def __init__(self, of: str, example: str) -> None:
        right = f"must be the address of {of}, such as {example}"
        super().__init__(lambda value: not value or value.startswith(("http://", "https://")), right, "http(s) address")


@dataclass(frozen=True)
class OneOf:
    """A name from a table of the library: ``OneOf("package.module:TABLE")``, imported when a value is looked at.

    Attributes:
        table: where the table is; its members (of a mapping, its keys) are the names. A function is called for them.
        also: names beside those of the table; they come first.
        renamed: names of earlier versions, each with its present one; refused with that.
        or_file: whether the path of a YAML file will do, too; it has a slash or that ending.
    """

    table: str
    also: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    or_file: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that is allowed."""
        module, _, name = self.table.partition(":")
        members = getattr(importlib.import_module(module), name)
        return (*self.also, *(members() if callable(members) else members))

    def is_file(self, value: object) -> bool:
        """Whether a value is the path of a file, where one will do."""
        return self.or_file and isinstance(value, str) and ("/" in value or value.endswith((".yaml", ".yml")))

    @property
    def or_words(self) -> str:
        """What follows the names in messages."""
        return ", or the path of a YAML file" if self.or_file else ""


Count = Annotated[int, AtLeast(0)]
PositiveCount = Annotated[int, AtLeast(1)]
NotNegative = Annotated[float, AtLeast(0)]
Positive = Annotated[float, Above(0)]
Coefficient = Annotated[float, Between(0, 1)]
Share = Annotated[float, Between(0, 1, "(]")]
BelowOne = Annotated[float, Between(0, 1, "[)")]
Fraction = Annotated[float, Between(0, 1, "()")]
PathText = Annotated[str, Given("a path")]


def either(names: Sequence[object]) -> str:
    """Names in a clause: ``a``, ``a or b``, ``a, b or c``."""
    words = [str(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
