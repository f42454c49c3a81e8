"""What ``conf/`` and the types say of settings, in words: descriptions, defaults, and the values that are allowed."""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tracelift_ray.config.rules import OneOf

_SCALARS: dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "any value"}


@dataclass(frozen=True)
class DescribedFile:
    """A file of ``conf/`` with its comments.

    Attributes:
        path: the file.
        title: the first sentences of the comment at its top.
        groups: the choice that its defaults list names for each group.
    """

    path: Path
    title: str
    groups: dict[str, str]
    _lines: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> DescribedFile:
        """Read a file."""
        text = path.read_text("utf-8")
        lines = tuple(text.splitlines())
        top = (line for line in lines if not line.startswith("# @package"))
        header = [line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), top)]
        chosen = {
            str(group): str(choice)
            for entry in (yaml.safe_load(text) or {}).get("defaults", ())
            if isinstance(entry, dict)
            for group, choice in entry.items()
            if not str(group).startswith("override ")
        }
        return cls(path, " ".join(header), chosen, lines)

    def fields(self) -> Iterator[tuple[str, str, str]]:
        """Dotted key, default as written, and description of every field that the file states."""
        root = yaml.compose("\n".join(self._lines), yaml.SafeLoader)
        yield from self._below(root, "")

    def _below(self, node: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if not prefix and key.value in ("defaults", "hydra"):
                continue
            name = f"{prefix}{key.value}"
            if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
                yield from self._below(value, f"{name}.")
            else:
                yield name, self._written(value), self._comment(key.start_mark.line)

    def _written(self, value: Any) -> str:
        """A value as it stands in the file, on one line."""
        first, last = value.start_mark, value.end_mark
        lines = list(self._lines[first.line : last.line + 1])
        if len(lines) > 1:
            return " ".join(" ".join(lines)[first.column :].split())
        return lines[0][first.column : last.column]

    def _comment(self, line: int) -> str:
        """The comment lines right above a line, as one text."""
        found: list[str] = []
        while line > 0 and self._lines[line - 1].strip().startswith("# "):
            line -= 1
            found.insert(0, self._lines[line].strip().removeprefix("# "))
        return " ".join(found)


def allowed(hint: Any) -> str:
    """The values that a type allows, in Markdown."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return ", ".join([*(allowed(each) for each in arguments if each is not type(None)), "or null"])
    if origin is typing.Literal:
        return _names(arguments)
    if origin is typing.Annotated:
        table = arguments[1]
        if isinstance(table, OneOf):
            return f"{_names(table.names)}{table.or_words}"
        return ", ".join([allowed(arguments[0]), *(rule.brief for rule in arguments[1:])])
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list: {allowed(arguments[0])}"
        return f"list of {len(arguments)}: {allowed(arguments[0])}"
    if origin is dict:
        return f"mapping of {allowed(arguments[0])} to {allowed(arguments[1])}"
    return _SCALARS.get(hint, "mapping")


def field_types(cls: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every field by dotted key, nested dataclasses and their fields included."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        found[f"{prefix}{name}"] = hint
        for option in (hint, *typing.get_args(hint)):
            if isinstance(option, type) and dataclasses.is_dataclass(option):
                found |= field_types(option, f"{prefix}{name}.")
    return found


def _names(names: tuple[Any, ...]) -> str:
    return " ".join(f"`{name}`" for name in names)
