"""Rules that a field's type carries, as in ``workers: Annotated[int, AtLeast(1)]``; the loader holds values to them.

A rule knows whether a value keeps it and says in a clause what would be right. Small fixed choices need no rule: their
type is a ``Literal``. Types that many settings share have names here (``Count``, ``Positive``, …). Rules across fields
are in ``planning/checks.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal


class Rule:
    """What a value must keep.

    Attributes:
        why: the reason, for messages; empty where the rule speaks for itself.
    """

    why: str = ""

    def holds(self, value: Any) -> bool:
        """Whether the value keeps the rule."""
        raise NotImplementedError

    @property
    def right(self) -> str:
        """What would be right, as a clause that begins with ``must``."""
        raise NotImplementedError

    @property
    def brief(self) -> str:
        """The same for a table of fields, such as ``≥ 1``; empty where the type says enough."""
        raise NotImplementedError


@dataclass(frozen=True)
class AtLeast(Rule):
    """A number that is ``least`` or more."""

    least: float
    why: str = ""

    def holds(self, value: Any) -> bool:
        return bool(value >= self.least)

    @property
    def right(self) -> str:
        return f"must be {self.least:g} or more"

    @property
    def brief(self) -> str:
        return f"≥ {self.least:g}"


@dataclass(frozen=True)
class Above(Rule):
    """A number above ``bound``."""

    bound: float
    why: str = ""

    def holds(self, value: Any) -> bool:
        return bool(value > self.bound)

    @property
    def right(self) -> str:
        return f"must be above {self.bound:g}"

    @property
    def brief(self) -> str:
        return f"> {self.bound:g}"


@dataclass(frozen=True)
class Between(Rule):
    """A number between two others. ``ends`` is an interval's brackets: ``[`` and ``]`` allow the bound itself."""

    low: float
    high: float
    ends: Literal["[]", "[)", "(]", "()"] = "[]"
    why: str = ""

    def holds(self, value: Any) -> bool:
        above = value >= self.low if self.ends[0] == "[" else value > self.low
        below = value <= self.high if self.ends[1] == "]" else value < self.high
        return bool(above and below)

    @property
    def right(self) -> str:
        if self.ends == "[]":
            return f"must be from {self.low:g} to {self.high:g}"
        above = f"{self.low:g} or more" if self.ends[0] == "[" else f"above {self.low:g}"
        below = f"at most {self.high:g}" if self.ends[1] == "]" else f"below {self.high:g}"
        return f"must be {above} and {below}"

    @property
    def brief(self) -> str:
        return f"{self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


@dataclass(frozen=True)
class Given(Rule):
    """Text that is not empty. ``what`` completes the clause ``must be``."""

    what: str
    why: str = ""

    def holds(self, value: Any) -> bool:
        return bool(str(value).strip())

    @property
    def right(self) -> str:
        return f"must be {self.what}"

    @property
    def brief(self) -> str:
        return "not empty"


@dataclass(frozen=True)
class Address(Rule):
    """An http(s) address. Empty text stands for none; where one is needed, a check across fields says so."""

    of: str
    example: str
    why: str = ""

    def holds(self, value: Any) -> bool:
        return value == "" or str(value).startswith(("http://", "https://"))

    @property
    def right(self) -> str:
        return f"must be the address of {self.of}, such as {self.example}"

    @property
    def brief(self) -> str:
        return "http(s) address"


@dataclass(frozen=True)
class OneOf(Rule):
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
    why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that is allowed."""
        module, _, name = self.table.partition(":")
        members = getattr(importlib.import_module(module), name)
        return (*self.also, *(members() if callable(members) else members))

    def holds(self, value: Any) -> bool:
        text = str(value)
        return value in self.names or (self.or_file and ("/" in text or text.endswith((".yaml", ".yml"))))

    @property
    def or_words(self) -> str:
        """What follows the names in messages."""
        return ", or the path of a YAML file" if self.or_file else ""

    @property
    def right(self) -> str:
        return f"must be {either(self.names)}{self.or_words}"

    @property
    def brief(self) -> str:
        return self.or_words.removeprefix(", ")


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
