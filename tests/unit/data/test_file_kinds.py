"""A file that is no JSON lines is named for what it is, with what to do, before any record of it is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.file_kinds import check_is_json_lines
from tracelift_ray.data.problems import load_problems
from tracelift_ray.errors import DataError

RECORD = {"question": "1 + 1?", "answer": "#### 2"}
OTHERS = [
    (b"question,answer\n1 + 1?,2\n", "a table (CSV)", "read_csv"),
    (b"question\tanswer\n1 + 1?\t2\n", "a table (CSV)", "read_csv"),
    (b"PAR1\x15\x04", "a Parquet file", "read_parquet"),
    (gzip.compress(json.dumps(RECORD).encode()), "compressed (gzip)", "gunzip"),
    (json.dumps([RECORD]).encode(), "a JSON list", "jq -c '.[]'"),
    (json.dumps([RECORD], indent=1).encode(), "a JSON list", "jq -c '.[]'"),
    (json.dumps(RECORD, indent=1).encode(), "JSON over several lines", "jq -c ."),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", "git lfs pull"),
    (json.dumps(RECORD).encode("utf-16"), "UTF-16 text", "iconv"),
]


@pytest.mark.parametrize(("content", "what", "remedy"), OTHERS)
def test_another_kind_of_file_is_refused_in_one_line(tmp_path: Path, content: bytes, what: str, remedy: str) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        load_problems(path, on_error="skip")
    assert str(refused.value).startswith(f"{path} is {what}, and JSON lines are needed") and remedy in str(
        refused.value
    )
    assert "\n" not in str(refused.value)


def test_json_lines_pass_whatever_their_faults(tmp_path: Path) -> None:
    for text in ("{\n{\n", '{"a": 1}\n', '\ufeff\n{"a": 1}', "[1]\n{}\n", "{broken, line\n{}\n", "{}\n{}\n"):
        (tmp_path / "data").write_text(text, "utf-8")
        check_is_json_lines(tmp_path / "data")


def test_a_run_looks_at_its_data_before_anything_starts(run_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("question,answer\n1 + 1?,2\n")
    with pytest.raises(ConfigError, match=r"^data\.train=.*train\.csv: is a table \(CSV\), and JSON lines are needed"):
        run_config(f"data.train=[{tmp_path / 'train.csv'}]")
