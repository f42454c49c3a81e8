"""A path that a setting names must exist, or take what is written, and the message names the setting."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.modes import modes_count
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.paths import check_directory, check_file, check_new, check_writable


def test_a_path_that_exists_and_none_at_all_pass(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    check_file("groups", str(tmp_path / "a.jsonl"))
    check_directory("model", str(tmp_path))
    check_file("groups", None)
    check_directory("model", None)


def test_a_missing_path_is_refused_by_the_key_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ConfigError, match=r"^groups=none\.jsonl: is no file; relative paths start where"):
        check_file("groups", "none.jsonl")
    with pytest.raises(ConfigError, match=r"^groups=.*: the file is empty"):
        check_file("groups", str(tmp_path / "empty.jsonl"))
    with pytest.raises(ConfigError, match=r"^run=.*: is no directory; give the directory of a training run"):
        check_directory("run", str(tmp_path / "empty.jsonl"), "a training run")


def test_a_place_that_can_be_written_passes_and_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for path in ("empty", "empty/run", str(tmp_path / "deep" / "run"), "none/../run", "."):
        check_writable("out", path)
    for path in ("empty", "empty/run", "none/at/all"):
        check_new("out", path)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize("check", [check_writable, check_new])
@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/proc/none/run", "/proc: No such file or directory"),
        ("{}/file/run", "{}/file: is a file"),
        (f"{{}}/{'n' * 300}", ".*: File name too long"),
        (f"{{}}/none/{'n' * 300}", "{}: File name too long"),
    ],
    ids=["no directory can be made", "file", "too long", "too long below what is missing"],
)
def test_a_place_that_cannot_be_written_is_refused_by_what_is_in_the_way(
    check: Callable[[str, str], None], path: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as refused:
        check("out", path.format(tmp_path))
    assert re.search(rf": cannot be written \({where.format(tmp_path)}\); give another out$", str(refused.value))


def test_a_directory_that_another_user_keeps_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    (tmp_path / "hidden").mkdir(mode=0)
    for name in ("theirs", "theirs/run", "hidden/run"):
        with modes_count(), pytest.raises(ConfigError) as refused:
            check_writable("out", str(tmp_path / name))
        assert "Permission denied); give another out" in str(refused.value)
    with modes_count(), pytest.raises(ConfigError, match=r"theirs: Permission denied\); give another out"):
        check_new("out", str(tmp_path / "theirs" / "model"))
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_new_directory_takes_the_place_of_an_empty_one_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name, says in (("full", "must not exist yet"), ("full/file", "must not exist yet"), ("link", "is a link")):
        with pytest.raises(ConfigError, match=f"^out=.*/{name}: {says}"):
            check_new("out", str(tmp_path / name))
