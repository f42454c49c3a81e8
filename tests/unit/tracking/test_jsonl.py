import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.errors import DataError
from tracelift_ray.tracking import jsonl
from tracelift_ray.tracking.jsonl import JsonlWriter, read_records

ROOT = Path(__file__).resolve().parents[3]


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()]


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    with closing(JsonlWriter(tmp_path / "m.jsonl")) as writer:
        writer.write({"step": 1, "text": "line\nbreak é \ud800", "value": 0.5})
    ((_, record),) = read_records(tmp_path / "m.jsonl")
    assert record["text"].startswith("line\nbreak é") and record["value"] == 0.5


def test_numbers_that_json_cannot_hold_become_null_at_any_depth(tmp_path: Path) -> None:
    with closing(JsonlWriter(tmp_path / "m.jsonl")) as writer:
        writer.write({"step": 1, "loss": float("nan"), "deep": [{"x": float("inf")}]})
    ((_, record),) = read_records(tmp_path / "m.jsonl")
    assert record == {"step": 1, "loss": None, "deep": [{"x": None}]}


def test_a_torn_last_line_is_cut_off_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step":1}\n{"step":2}\n{"step":3,"loss":0.1')
    with closing(JsonlWriter(path)) as writer:
        assert writer.last_step == 2
        writer.write({"step": 3})
    assert steps_in(path) == [1, 2, 3]


def test_a_last_line_of_garbage_is_cut_off_as_well(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step":1}\n\x00\x00\x00\x00\n')
    with closing(JsonlWriter(path)) as writer:
        assert writer.last_step == 1
    assert steps_in(path) == [1]


def test_resuming_drops_records_of_later_steps_only(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with closing(JsonlWriter(path)) as writer:
        for step in (1, 2, 2, 3, 4):
            writer.write({"step": step})
    with closing(JsonlWriter(path, keep_step=2)) as writer:
        writer.write({"step": 3})
    assert steps_in(path) == [1, 2, 2, 3]


@pytest.mark.parametrize("chunk", [1, 7, 30, 2**20])
@pytest.mark.parametrize("end", ["", '{"step":9', "\0\n", "é"])
def test_what_is_kept_is_found_from_the_end_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, end: str
) -> None:
    lines = [f'{{"step":{step},"text":"{"é" * step}"}}\n' for step in (1, 2, 2, 3, 5, 5, 8)]
    path = tmp_path / "m.jsonl"
    monkeypatch.setattr(jsonl, "CHUNK", chunk)
    record = jsonl._record
    for keep, kept, last in ((None, 7, 8), (8, 7, 8), (7, 6, 5), (4, 4, 3), (2, 3, 2), (0, 0, None)):
        read: list[bytes] = []
        monkeypatch.setattr(jsonl, "_record", lambda line, read=read: (read.append(line), record(line))[1])
        path.write_text("".join(lines) + end)
        with closing(JsonlWriter(path, keep)) as writer:
            assert writer.last_step == last
        assert path.read_text() == "".join(lines[:kept])
        assert len(read) == len(lines) - kept + (kept > 0) + end.endswith("\n")


def test_an_empty_file_keeps_nothing(tmp_path: Path) -> None:
    with closing(JsonlWriter(tmp_path / "m.jsonl", 3)) as writer:
        assert writer.last_step is None


def test_a_step_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with closing(JsonlWriter(path)) as writer:
        for step in (1, 2, 3):
            writer.write({"step": step})
        with pytest.raises(ValueError, match="step 2 after step 3"):
            writer.write({"step": 2})
    assert steps_in(path) == [1, 2, 3]


@pytest.mark.parametrize("middle", ["not json", '{"no": "step"}', "[1]"])
def test_a_broken_line_in_the_middle_is_reported_with_its_number(tmp_path: Path, middle: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"step":1}}\n{middle}\n{{"step":2}}\n')
    with pytest.raises(DataError, match=r"m\.jsonl:2"):
        list(read_records(path))
    with pytest.raises(DataError, match=r"m\.jsonl:2"):
        JsonlWriter(path, keep_step=1)
    assert path.read_text().count("\n") == 3


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with closing(JsonlWriter(path)) as writer:
            writer.write({"step": 1})
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
            with pytest.raises(OSError):
                writer.write({"step": 2, "text": "x" * 1000})
            assert steps_in(path) == [1]
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            writer.write({"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert steps_in(path) == [1, 2]


def test_kills_at_any_moment_neither_tear_nor_double_a_record(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    program = (
        "import sys; from pathlib import Path; from tracelift_ray.tracking.jsonl import JsonlWriter\n"
        "writer = JsonlWriter(Path(sys.argv[1]), keep_step=int(sys.argv[2])); step = writer.last_step or 0\n"
        "while True:\n"
        "    step += 1; writer.write({'step': step, 'text': 'x' * 5000})\n"
    )
    kept = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", program, str(path), str(kept)], cwd=ROOT)
        deadline = time.monotonic() + HANG_S
        while not path.exists() or path.stat().st_size < (kept + 5) * 5000:
            assert time.monotonic() < deadline, "the writing process wrote nothing for 20 s"
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found = [record["step"] for _, record in read_records(path)]
        assert found == list(range(1, len(found) + 1)) and len(found) > kept
        kept = min(len(found) // 2 + 1, 50)


def test_a_file_that_is_cut_off_while_it_is_read_ends_there(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer, text = JsonlWriter(path), "x" * 200_000  # more than a reader has in its buffer
    for step in (1, 2):
        writer.write({"step": step, "text": text})
    reading = read_records(path)
    assert next(reading)[1]["step"] == 1
    os.truncate(path, 300_000)
    assert list(reading) == []
