import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tracelift_ray.tracking.run_dir import (
    COMMIT_VARIABLE,
    RunDirectory,
    RunDirectoryError,
    check_shared,
    code_version,
    environment_versions,
    probe_writable,
    set_aside,
)


def test_a_directory_keeps_its_id_and_lists_every_start(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "deep" / "run")
    first.record_start({"seed": 1}, None)
    second = RunDirectory.create(tmp_path / "deep" / "run")
    second.record_start({"seed": 1}, 20)
    starts = json.loads((second.path / "run.json").read_text())["starts"]
    assert second.run_id == first.run_id
    assert [start["resume_step"] for start in starts] == [None, 20]
    assert starts[0]["environment"]["python"] and "commit" in starts[0]["code"]


def test_a_note_belongs_to_the_latest_start(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    run.record_start({}, None)
    run.record_start({}, 5)
    run.record_note("sandbox_tier", "landlock")
    starts = json.loads((run.path / "run.json").read_text())["starts"]
    assert [start.get("sandbox_tier") for start in starts] == [None, "landlock"]


def test_the_snapshot_is_the_configuration_in_force_and_the_old_one_is_kept(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    run.record_start({"seed": 1, "tie_table": {1: 0.5}}, None)
    run.record_start({"seed": 1, "tie_table": {1: 0.5}}, 5)
    run.record_start({"seed": 2}, 10)
    assert yaml.safe_load(run.config_path.read_text()) == {"seed": 2}
    assert yaml.safe_load((tmp_path / "config.1.yaml").read_text())["tie_table"] == {1: 0.5}
    assert not (tmp_path / "config.2.yaml").exists()


def test_the_prompt_files_in_force_are_kept_and_older_ones_set_aside(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    for text in ("one", "one", "two"):
        run.keep_prompts({"planner": text})
    assert run.prompt_path("planner").read_text() == "two"
    assert sorted(path.name for path in (tmp_path / "prompts").iterdir()) == ["planner.1.yaml", "planner.yaml"]


def test_a_path_that_is_a_file_gets_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"cannot create .*file"):
        RunDirectory.create(tmp_path / "file")


def test_an_unwritable_directory_is_found_by_the_probe(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"cannot write to .*gone"):
        probe_writable(tmp_path / "gone")
    probe_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_sees_another_directory_is_told(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "a")
    check_shared(run.path, run.run_id)
    with pytest.raises(RunDirectoryError, match="share"):
        check_shared(RunDirectory.create(tmp_path / "b").path, run.run_id)
    with pytest.raises(RunDirectoryError, match="share"):
        check_shared(tmp_path / "absent", run.run_id)


def test_a_commit_counts_only_for_files_that_it_tracks(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | identity).stdout

    source = tmp_path / "module.py"
    source.write_text("1\n")
    git("init", "-q")
    assert code_version(source).commit is None
    git("add", "module.py")
    git("commit", "-q", "-m", "one")
    clean = code_version(source)
    assert clean.commit == git("rev-parse", "HEAD").strip() and not clean.dirty
    source.write_text("2\n")
    assert code_version(source).dirty
    assert code_version(tmp_path / "untracked.py").commit is None


@pytest.mark.parametrize(
    ("said", "commit", "dirty"),
    [("0a1b2c3d" * 5, "0a1b2c3d" * 5, False), ("a1b2c3d-dirty", "a1b2c3d", True), ("unknown", None, False)],
)
def test_outside_a_repository_the_commit_is_what_the_image_or_the_job_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, commit: str | None, dirty: bool
) -> None:
    monkeypatch.setenv(COMMIT_VARIABLE, said)
    (tmp_path / "module.py").touch()
    version = code_version(tmp_path / "module.py")
    assert (version.commit, version.dirty) == (commit, dirty)


def test_versions_are_read_without_importing_anything_heavy() -> None:
    assert {"torch", "ray", "transformers"} <= environment_versions().keys()


def test_setting_aside_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert set_aside(file) is None
    for content in ("a", "b"):
        file.write_text(content)
        set_aside(file)
    assert [(tmp_path / f"metrics.{n}.jsonl").read_text() for n in (1, 2)] == ["a", "b"]
