"""Problems come out of every kind of file and data set that people have; a broken one gets one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import ipc, parquet

from tracelift_ray.data.data_sets import is_data_set
from tracelift_ray.data.problems import load_problems
from tracelift_ray.errors import DataError

RECORDS = [{"question": f"{n} + 1?", "answer": f"One more.\n#### {n + 1}"} for n in range(5)]
TABLE = pyarrow.Table.from_pylist(RECORDS)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def json_lines(records: list[dict[str, Any]] = RECORDS) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def csv_text() -> bytes:
    rows = [f'"{record["question"]}","{record["answer"]}"' for record in RECORDS]
    return "\n".join(["question,answer", *rows, ""]).encode()


def arrow_file(path: Path) -> None:
    with ipc.new_file(path, TABLE.schema) as writer:
        writer.write_table(TABLE)


def arrow_stream(path: Path) -> None:
    with ipc.new_stream(path, TABLE.schema) as writer:
        writer.write_table(TABLE)


def written(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


KINDS: dict[str, Callable[[Path], None]] = {
    "JSON lines": written(json_lines()),
    "gzip": written(gzip.compress(json_lines(), mtime=0)),
    "bzip2": written(bz2.compress(json_lines())),
    "xz": written(lzma.compress(json_lines())),
    "JSON list": written(json.dumps(RECORDS).encode()),
    "CSV": written(csv_text()),
    "CSV from a spreadsheet": written(b"\xef\xbb\xbf" + csv_text().replace(b'","', b'";"').replace(b"n,a", b"n;a")),
    "Parquet": lambda path: parquet.write_table(TABLE, path, row_group_size=2),
    "Arrow": arrow_file,
    "Arrow stream": arrow_stream,
}


@pytest.mark.parametrize("kind", KINDS)
def test_problems_are_read_from_a_file_of_each_kind(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "data")
    loaded = load_problems(tmp_path / "data")
    assert [problem.statement for problem in loaded] == [record["question"] for record in RECORDS]
    assert [problem.answer for problem in loaded] == ["1", "2", "3", "4", "5"]
    assert loaded.report.format == "gsm8k" and loaded.report.records == 5
    assert len(load_problems(tmp_path / "data", limit=2)) == 2


def test_problems_are_read_from_directories_of_data_sets(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(RECORDS)
    whole.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": whole, "test": whole.select(range(2))}).save_to_disk(tmp_path / "splits")
    (tmp_path / "files").mkdir()
    parquet.write_table(TABLE, tmp_path / "files" / "train.parquet")
    parquet.write_table(TABLE.slice(0, 3), tmp_path / "files" / "test.parquet")
    counts = {
        source: len(load_problems(tmp_path / source))
        for source in ("saved", "splits", "splits@test", "files", "files@test")
    }
    assert counts == {"saved": 5, "splits": 5, "splits@test": 2, "files": 5, "files@test": 3}
    with pytest.raises(DataError, match=r"splits has no split dev; it has train, test$"):
        load_problems(tmp_path / "splits@dev")
    with pytest.raises(
        DataError, match=r"files@dev: the split dev cannot be read .*check what is in the directory"
    ) as refused:
        load_problems(tmp_path / "files@dev")
    assert "\n" not in str(refused.value)


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "an Arrow file is cut off": lambda saved: cut(next(saved.glob("*.arrow")), 0.5),
    "an Arrow file is empty": lambda saved: cut(next(saved.glob("*.arrow")), 0.0),
    "an Arrow file is gone": lambda saved: next(saved.glob("*.arrow")).unlink(),
    "the state is cut off": lambda saved: cut(saved / "state.json", 0.5),
    "the state is gone": lambda saved: (saved / "state.json").unlink(),
    "the description is gone": lambda saved: (saved / "dataset_info.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_of_a_saved_data_set_is_one_line(tmp_path: Path, damage: str) -> None:
    datasets.Dataset.from_list(RECORDS * 500).save_to_disk(tmp_path / "saved")
    DAMAGES[damage](tmp_path / "saved")
    with pytest.raises(DataError) as refused:
        load_problems(tmp_path / "saved", on_error="skip")
    line = str(refused.value)
    assert line.startswith(f"{tmp_path}/saved: the split train cannot be read (") and "\n" not in line
    assert line.endswith("); check what is in the directory, and the form DIRECTORY@SPLIT")


def test_a_split_that_a_saved_data_set_names_and_has_not_is_one_line(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(RECORDS)
    datasets.DatasetDict({"train": whole, "test": whole}).save_to_disk(tmp_path / "saved")
    shutil.rmtree(tmp_path / "saved" / "test")
    for source in ("saved", "saved@test"):
        with pytest.raises(DataError, match=r"cannot be read .*test.*; check what is in the directory") as refused:
            load_problems(tmp_path / source)
        assert "\n" not in str(refused.value)


def test_a_directory_is_streamed_so_that_a_limit_reads_no_further(tmp_path: Path) -> None:
    for name, kind in (("tables", "parquet"), ("lines", "jsonl")):
        folder = tmp_path / name
        folder.mkdir()
        KINDS["Parquet" if kind == "parquet" else "JSON lines"](folder / f"train-00000-of-00002.{kind}")
        (folder / f"train-00001-of-00002.{kind}").write_bytes(b"PAR1 and no table")
        assert len(load_problems(folder, limit=4)) == 4
        with pytest.raises(DataError, match=rf"{name}: the split train cannot be read .*check what is in the"):
            load_problems(folder)


def test_a_name_of_the_hub_says_configuration_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load(name: str, configuration: str | None, *, split: str, streaming: bool) -> list[dict[str, Any]]:
        asked.append((name, configuration, split, streaming))
        return RECORDS

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(load_problems("hub:openai/gsm8k:main@test", limit=3)) == 3
    assert len(load_problems("hub:me/mine")) == 5
    assert asked == [("openai/gsm8k", "main", "test", True), ("me/mine", None, "train", True)]
    assert is_data_set("hub:me/mine") and not is_data_set("data.jsonl")


def test_a_hub_that_cannot_be_reached_is_one_line() -> None:
    with pytest.raises(DataError, match=r"^hub:me/mine: the split train cannot be read \(.*check the hub") as refused:
        load_problems("hub:me/mine")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PAR1 and no table", "cannot be read as Parquet: "),
        (b"ARROW1 and no table", "cannot be read as Arrow: "),
        (gzip.compress(json_lines() * 999, mtime=0)[:99], "cannot be "),
        (json.dumps(RECORDS).encode()[:-9], "cannot be read as JSON list: "),
        (b"question,answer\n1 + 1?,\xff\n", "cannot be read as CSV: "),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(DataError) as refused:
        load_problems(tmp_path / "data", on_error="skip")
    assert f"{tmp_path / 'data'} {told}" in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).endswith("in UTF-8") == ("read as" in str(refused.value))


PACKED = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("share", [0.01, 0.99], ids=["at its beginning", "at its end"])
@pytest.mark.parametrize("fault", ["cut off", "overwritten"])
def test_a_damaged_packed_file_is_one_line(tmp_path: Path, packing: str, share: float, fault: str) -> None:
    noise = "".join(chr(97 + n * n % 23) for n in range(200))
    packed = PACKED[packing](json_lines([record | {"id": f"{noise}{n}"} for n in range(2000) for record in RECORDS]))
    place = int(share * len(packed))
    rest = b"" if fault == "cut off" else b"\xff" * 400 + packed[place + 400 :]
    (tmp_path / "data").write_bytes(packed[:place] + rest)
    with pytest.raises(DataError) as refused:
        load_problems(tmp_path / "data", on_error="skip")
    line = str(refused.value)
    done, remedy = f"unpacked as {packing}", "fetch or write it again, whole"
    if line.startswith(f"{tmp_path}/data cannot be read"):
        done, remedy = "read as JSON lines", f"{remedy} and, if it is text, in UTF-8"
    assert line.startswith(f"{tmp_path}/data cannot be {done}: ") and line.endswith(f"; {remedy}")
    assert "\n" not in line and len(line) > len(f"{tmp_path}/data cannot be {done}: ; {remedy}")


def test_rows_at_fault_are_counted_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("question,answer\n1 + 1?,#### 2\n2 + 2?,#### 4,more\n3 + 3?,\n")
    report = load_problems(tmp_path / "data.csv", "gsm8k", on_error="skip").report
    assert (report.loaded, report.records) == (1, 3)
    assert [str(fault).partition(": ")[2] for fault in report.faults] == [
        "record: has more than the 2 cells of the header",
        "answer: is required",
    ]
    assert [fault.line for fault in report.faults] == [3, 4]
    (tmp_path / "data.json").write_text(json.dumps([RECORDS[0], 7]))
    assert load_problems(tmp_path / "data.json", on_error="skip").report.faults[0].rule == "must be an object"
