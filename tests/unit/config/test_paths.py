"""A path that a setting names must exist, and the message names the setting."""

from pathlib import Path

import pytest

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.paths import check_directory, check_file


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
