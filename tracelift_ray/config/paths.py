"""Paths that settings name, as seen from where a command is run: what must be there, and what can be written."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from tracelift_ray.config.errors import ConfigError, shown

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


def check_writable(key: str, path: str, others: str = "") -> None:
    """A directory that takes files, or can be made; nothing is left of the attempt.

    Args:
        others: how else another directory is chosen, as ``" or KEY"``.

    Raises:
        ConfigError: it cannot be written; names the part of the path that is in the way.
    """
    _check_probe(key, path, Path(path), others)


def check_new(key: str, path: str) -> None:
    """A directory that can be filled under the name ``drafted`` and take its own at once. Raises ConfigError."""
    if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise ConfigError(key, path, "must not exist yet, or be an empty directory; nothing is overwritten")
    if os.path.islink(path) or os.path.ismount(path):
        right = "is a link, or where a disk is mounted: no new directory can take that place; give one in it"
        raise ConfigError(key, path, right)
    _check_probe(key, path, drafted(Path(path)))


def drafted(output: Path) -> Path:
    """Where a directory is filled that is called ``output`` once it is whole."""
    output = Path(os.path.abspath(output))
    return output.with_name(f".tmp-{output.name}")


def _check_probe(key: str, path: str, directory: Path, others: str = "") -> None:
    try:
        probe_directory(directory)
    except OSError as error:
        where = shown(error.filename)
        right = f"cannot be written ({where}: {error.strerror}); give another {key}{others}"
        raise ConfigError(key, path, right) from None


def probe_directory(directory: Path) -> Path:
    """The directory, or the nearest above it that is there; what lacks of it is made in there, and removed, to try.

    Raises:
        OSError: one of them is a file, cannot be looked at or takes no directory; ``filename`` says which.
    """
    nearest = directory = Path(os.path.abspath(directory))
    try:
        while not nearest.exists():
            nearest = nearest.parent
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file")
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=nearest) as probe:
            (Path(probe) / directory.relative_to(nearest)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(nearest)) from None
    return nearest
