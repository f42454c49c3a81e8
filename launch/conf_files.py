"""What ``conf/`` offers a command: its groups with their choices, and its fields with defaults and descriptions.

It reads the files themselves and composes nothing, so that help and completion answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from tracelift_ray.config.described import DescribedFile

CONFIG_DIR = Path(__file__).resolve().parents[1] / "conf"


@dataclass(frozen=True)
class Offer:
    """What a command line can name.

    Attributes:
        groups: the choices of each group, that by default first.
        fields: default as written and description, by dotted key; those that only other choices have come last.
    """

    groups: dict[str, tuple[str, ...]]
    fields: dict[str, tuple[str, str]]


def offer(config: str) -> Offer:
    """What the file ``conf/CONFIG.yaml`` and those that it builds on offer."""
    path = CONFIG_DIR / f"{config}.yaml"
    groups: dict[str, tuple[str, ...]] = {}
    fields = {key: (default, words) for key, default, words in DescribedFile.read(path).fields()}
    for entry in (yaml.safe_load(path.read_text("utf-8")) or {}).get("defaults", ()):
        if isinstance(entry, str) and entry != "_self_":
            base = offer(entry)
            groups |= base.groups
            fields = base.fields | fields
        elif isinstance(entry, dict):
            for group, default in entry.items():
                folder = group.partition("@")[0]
                if (CONFIG_DIR / folder).is_dir():
                    groups[group] = choices(folder, default)
    for group in groups:
        if group != "experiment" and "@" not in group:
            fields |= {key: each for key, each in _group_fields(group, groups[group]).items() if key not in fields}
    return Offer(groups, fields)


def choices(group: str, default: str | None) -> tuple[str, ...]:
    """The choices of a group: ``default`` first, the others by name."""
    names = sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))
    return tuple(sorted(names, key=lambda name: name != default))


def _group_fields(group: str, names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        for key, default, words in DescribedFile.read(CONFIG_DIR / group / f"{name}.yaml").fields():
            found.setdefault(f"{group}.{key}", (default, words))
    return found
