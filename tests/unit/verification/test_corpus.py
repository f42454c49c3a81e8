"""A corpus is read as its manifest says, or refused with the reason; the tests' own is whole; two stay apart."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.errors import DataError
from tracelift_ray.verification.corpus.canaries import SLOT_IDS, canaries
from tracelift_ray.verification.corpus.manifest import read_corpus

ATTACKS = Path(__file__).resolve().parents[2] / "integration" / "sandbox" / "attacks"


def corpus(directory: Path, *records: dict[str, Any]) -> Path:
    for record in records:
        (directory / record["file"]).parent.mkdir(exist_ok=True)
        (directory / record["file"]).write_bytes(b"print(1)\xff")
    (directory / "manifest.json").write_text(json.dumps({"programs": records}))
    return directory


def test_the_tests_corpus_names_every_program_and_what_may_come_of_it() -> None:
    entries = read_corpus(ATTACKS)
    preludes = {"attempt.py"}
    assert {entry.name for entry in entries} | preludes == {path.name for path in ATTACKS.rglob("*.py")}
    assert len(entries) == len({entry.name for entry in entries})
    for entry in entries:
        if entry.category.startswith("benign"):
            assert entry.allowed == ("passed",), entry.name
        if entry.category.startswith("cheat"):
            assert entry.allowed and "passed" not in entry.allowed, entry.name


def test_entries_become_programs_and_tests(tmp_path: Path) -> None:
    stdio = {"file": "a.py", "mode": "stdio", "expect": ["AC", "RE"], "stdin": "x", "stdin_repeat": 3}
    stdio |= {"expected_stdout": "@range3", "compare": {"rel": 0.5}, "limits": {"cpu": 6}, "max_wall_s": 4}
    func = {
        "file": "cheats/b.py",
        "mode": "func",
        "expect": ["PASS"],
        "entry": "f",
        "prelude": "a.py",
        "run_after": "a.py",
    }
    func |= {"test": "def check(f):\n    assert f(1)", "prompt": "import re\n\ndef f(n):\n    pass"}
    one, other = read_corpus(corpus(tmp_path, stdio, func))
    assert (one.name, other.name) == ("a.py", "b.py")
    assert one.program == "print(1)\udcff"
    assert one.allowed == ("passed", "runtime_error", "does_not_compile")
    assert (one.tests.inputs, one.tests.outputs, one.tests.rel_tol) == (("xxx",), ("0\n1\n2\n",), 0.5)
    assert (one.cpu_s, one.max_wall_s, one.before) == (6, 4.0, None)
    assert other.program == "print(1)\udcff\nprint(1)\udcff"
    assert (other.tests.entry_point, other.tests.setup) == ("f", "import re\n\n")
    assert other.before == (one.program, one.tests)


@pytest.mark.parametrize(
    "record",
    [
        {"mode": "stdio", "expect": ["AC"]},
        {"mode": "stdio", "expect": ["MAYBE"], "expected_stdout": ""},
        {"mode": "func", "expect": ["PASS"]},
        {"mode": "func", "expect": ["PASS"], "test": "assert 1", "run_after": "none.py"},
    ],
)
def test_a_malformed_manifest_is_refused(tmp_path: Path, record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no manifest of a corpus"):
        read_corpus(corpus(tmp_path, {"file": "a.py"} | record))


def test_a_folder_without_manifest_or_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json: No such file"):
        read_corpus(tmp_path)
    record = {"file": "a.py", "mode": "stdio", "expect": ["AC"], "expected_stdout": ""}
    (corpus(tmp_path, record) / "a.py").unlink()
    with pytest.raises(DataError, match=r"a\.py: No such file"):
        read_corpus(tmp_path)


def test_what_befalls_the_canaries_of_one_corpus_is_not_seen_by_another() -> None:
    plant = "import subprocess\nopen('/tmp/sandbox_canary/planted', 'w').close()\n"
    plant += "sleeping = subprocess.Popen(['sleep', '7771'])\n"
    knock = "import socket\nsocket.create_connection(('127.0.0.1', 47321)).close()\n"
    datagram = "a = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    datagram += "a.sendto(b'x', '/tmp/sandbox_canary_ray/session_latest/sockets/raylet_dgram')\na.close()\n"
    with canaries() as one, canaries() as other:
        names: dict[str, Any] = {}
        try:
            exec(one.aim(plant + knock + datagram), names)
            assert other.breaches() == []
            found = one.breaches()
        finally:
            names["sleeping"].kill()
            names["sleeping"].wait()
        assert [line.partition(":")[0] for line in found] == ["appeared", "reached", "reached", "outlived its run"]
    assert not list(Path("/tmp").glob(f"{one.name}*")) and not list(Path("/tmp").glob(f"{other.name}*"))


def test_an_entry_that_vanishes_while_a_folder_is_read_hides_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, SLOT_IDS if os.geteuid() == 0 else -1, -1)
    scandir = os.scandir

    @contextlib.contextmanager
    def losing_one(directory: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        (tmp_path / "a").unlink(missing_ok=True)
        yield iter(found)

    with canaries() as watched:
        monkeypatch.setattr("tracelift_ray.verification.corpus.canaries.WATCHED", (tmp_path,))
        monkeypatch.setattr(os, "scandir", losing_one)
        assert watched.breaches() == [f"appeared: {tmp_path / 'b'}"]


def test_what_a_program_plants_under_its_corpus_name_is_found_and_removed() -> None:
    with canaries() as watched, canaries() as other:
        planted = Path(watched.aim("/dev/shm/sandbox_canary_planted"))
        planted.touch()
        os.chown(planted, SLOT_IDS if os.geteuid() == 0 else -1, -1)
        assert (watched.breaches(), other.breaches()) == ([f"appeared: {planted}"], [])
    assert not planted.exists()


def test_only_whole_numbers_of_a_program_are_aimed() -> None:
    with canaries() as watched:
        assert watched.aim("x = 17771 + 473210") == "x = 17771 + 473210"
        port = int(watched.aim("47321"))
        with pytest.raises(OSError), socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
