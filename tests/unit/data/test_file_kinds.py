"""A file that cannot be read is named for what it is, with what to do, before any record of it is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.file_kinds import file_kind
from tracelift_ray.data.problems import load_problems
from tracelift_ray.errors import DataError

RECORD = {"question": "1 + 1?", "answer": "#### 2"}
REFUSED = [
    (b"\x28\xb5\x2f\xfd and more", "compressed (zstd)", "unzstd"),
    (b"PK\x03\x04 and more", "a ZIP archive", "unzip"),
    (json.dumps(RECORD, indent=1).encode(), "JSON over several lines", "jq -c ."),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", "git lfs pull"),
    (json.dumps(RECORD).encode("utf-16"), "UTF-16 text", "iconv"),
]


@pytest.mark.parametrize(("content", "what", "remedy"), REFUSED)
def test_another_kind_of_file_is_refused_in_one_line(tmp_path: Path, content: bytes, what: str, remedy: str) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        load_problems(path, on_error="skip")
    told = str(refused.value)
    assert told.startswith(f"{path} is {what}, and JSON lines, a JSON list, CSV, Parquet or Arrow is needed; ")
    assert remedy in told and "\n" not in told


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"question,answer\n1 + 1?,2\n", "CSV"),
        (b"question\tanswer\n1 + 1?\t2\n", "CSV"),
        (gzip.compress(b"question,answer\n1 + 1?,2\n", mtime=0), "CSV"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"ARROW1\0\0", "Arrow"),
        (json.dumps([RECORD]).encode(), "JSON list"),
        (json.dumps([RECORD], indent=1).encode(), "JSON list"),
        *((text.encode(), "JSON lines") for text in ("{\n{\n", '{"a": 1}\n', '\ufeff\n{"a": 1}', "[1]\n{}\n")),
        *((text.encode(), "JSON lines") for text in ("{broken, line\n{}\n", "{}\n{}\n")),
    ],
)
def test_a_kind_is_told_by_the_beginning(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "data").write_bytes(content)
    assert file_kind(tmp_path / "data") == kind


def test_a_run_looks_at_its_data_before_anything_starts(run_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match=r"^data\.train=.*train\.zip: is a ZIP archive, and JSON lines, a JSON list"):
        run_config(f"data.train=[{tmp_path / 'train.zip'}]")
