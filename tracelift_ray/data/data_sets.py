"""Data sets of Hugging Face's `datasets` library: ``hub:NAME`` from the hub, and directories here.

``hub:openai/gsm8k:main@test`` is the split ``test`` of the configuration ``main``; both may be left out, the split is
then ``train``. A directory (``DIR`` or ``DIR@test``) is one that ``save_to_disk`` wrote or one of data files. All are
streamed, so that a limit reads no more than it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tracelift_ray.config.errors import first_line
from tracelift_ray.config.paths import HUB
from tracelift_ray.errors import DataError
from tracelift_ray.records import Record

#: A directory is one that ``save_to_disk`` wrote where it has all files of a row.
_SAVED = (("dataset_dict.json",), ("state.json",), ("dataset_info.json", "data-*-of-*.arrow"))


class DataSet(NamedTuple):
    """What a source names."""

    name: str
    configuration: str | None
    split: str


def is_data_set(source: str) -> bool:
    """Whether a source is one of the library's, not a single file."""
    return source.startswith(HUB) or Path(_named(source).name).is_dir()


def data_set_rows(source: str) -> Iterator[tuple[int, Record]]:
    """Its rows, counted from 1.

    Raises:
        DataError: the library cannot find or read it.
    """
    wanted = _named(source)
    try:
        yield from enumerate(_open(wanted), start=1)
    except DataError:
        raise
    except Exception as error:  # the library, and what it reads through, raise errors of many kinds
        form = f"the hub, or HF_ENDPOINT, and the form {HUB}NAME:CONFIGURATION@SPLIT"
        if not source.startswith(HUB):
            form = "what is in the directory, and the form DIRECTORY@SPLIT"
        raise DataError(
            f"{source}: the split {wanted.split} cannot be read ({type(error).__name__}: {first_line(error)}); "
            f"check {form}"
        ) from error


def _named(source: str) -> DataSet:
    if not source.startswith(HUB):
        name, mark, split = source.rpartition("@")
        return DataSet(name, None, split) if mark and not Path(source).exists() else DataSet(source, None, "train")
    name, _, split = source.removeprefix(HUB).partition("@")
    name, _, configuration = name.partition(":")
    return DataSet(name, configuration or None, split or "train")


def _is_saved(directory: Path) -> bool:
    """Whether ``save_to_disk`` wrote a directory, all of it or in part."""
    return any(all(any(directory.glob(file)) for file in files) for files in _SAVED)


def _open(wanted: DataSet) -> Any:
    import datasets

    datasets.disable_progress_bars()
    if not _is_saved(Path(wanted.name)):
        return datasets.load_dataset(wanted.name, wanted.configuration, split=wanted.split, streaming=True)
    saved = datasets.load_from_disk(wanted.name)
    if isinstance(saved, datasets.Dataset):
        return saved
    if wanted.split not in saved:
        raise DataError(f"{wanted.name} has no split {wanted.split}; it has {', '.join(map(str, saved))}")
    return saved[wanted.split]
