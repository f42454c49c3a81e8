"""Paths that settings name and that must exist when a command starts, as seen from where it is run."""

from __future__ import annotations

from pathlib import Path

from tracelift_ray.config.errors import ConfigError

#: What begins a source of problems that is no path: a built-in world, a data set of the hub, a generator.
DEMO, HUB, GYM = "demo:", "hub:", "gym:"
#: What stands between a source and settings of its own.
SETTINGS = "?"


def is_path(source: str) -> bool:
    """Whether a source of problems is a path."""
    return not source.startswith((DEMO, HUB, GYM))


def check_file(key: str, path: str | None) -> None:
    """Raises ConfigError where a path is given and is no file with something in it."""
    if path is None:
        return
    if not Path(path).is_file():
        raise ConfigError(key, path, "is no file; relative paths start where the command is run")
    if Path(path).stat().st_size == 0:
        raise ConfigError(key, path, "the file is empty")


def check_directory(key: str, path: str | None, what: str = "a Hugging Face checkpoint") -> None:
    """Raises ConfigError where a path is given and is no directory. ``what``: what has to be in it."""
    if path is not None and not Path(path).is_dir():
        raise ConfigError(key, path, f"is no directory; give the directory of {what}")
