import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.training import checkpoint as cp


def save(directory: Path, step: int, text: str = "weights") -> cp.Checkpoint:
    with cp.writing(directory, step) as draft:
        (draft.planner_dir / "model.safetensors").write_text(text)
        (draft.learner_dir / "rank-0.pt").write_text("state")
        return cp.publish(draft, {"step": step, "sampler": {"epoch": 1}})


def test_a_published_checkpoint_holds_planner_learner_and_state(tmp_path):
    saved = save(tmp_path / "checkpoints", 12)
    assert saved.path.name == "step-000012"
    newest = cp.newest_complete(tmp_path / "checkpoints")
    assert newest == saved
    assert newest.state() == {"step": 12, "sampler": {"epoch": 1}}
    assert (newest.planner_dir / "model.safetensors").read_text() == "weights"
    assert sorted(p.name for p in newest.path.iterdir()) == ["learner", "manifest.json", "planner", "state.json"]


def test_steps_are_ordered_by_number_and_not_by_name(tmp_path):
    for step in (999_999, 1_000_000, 7):
        save(tmp_path, step)
    assert [c.step for c in cp.complete(tmp_path)] == [7, 999_999, 1_000_000]


def test_a_directory_without_checkpoints_has_no_newest(tmp_path):
    assert cp.newest_complete(tmp_path / "missing") is None
    assert cp.newest_complete(tmp_path) is None


def test_a_draft_is_not_a_checkpoint_and_a_failed_one_leaves_nothing(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(KeyError), cp.writing(tmp_path, 2) as draft:
        (draft.planner_dir / "model.safetensors").write_text("half")
        assert cp.newest_complete(tmp_path).step == 1
        raise KeyError("the learner died")
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def test_a_writer_killed_at_any_point_leaves_the_previous_checkpoint_and_is_cleaned_up(tmp_path):
    save(tmp_path, 1)
    code = (
        "import os, signal, sys, pathlib\n"
        "from tracelift_ray.training import checkpoint as cp\n"
        "draft = cp.begin(pathlib.Path(sys.argv[1]), 2)\n"
        "(draft.planner_dir / 'model.safetensors').write_text('half')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=HANG_S)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    assert cp.newest_complete(tmp_path).step == 1
    save(tmp_path, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000001", "step-000003"]


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_full_disk_at_any_point_keeps_the_previous_checkpoint_and_says_so(tmp_path, monkeypatch, failing):
    save(tmp_path, 1)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"write": (Path, "write_text"), "fsync": (os, "fsync"), "rename": (os, "rename")}[failing]
    with pytest.raises(cp.CheckpointError) as caught, cp.writing(tmp_path, 2) as draft:
        monkeypatch.setattr(*target, full)
        cp.publish(draft, {})
    monkeypatch.undo()
    assert "the disk is full" in str(caught.value) and "\n" not in str(caught.value)
    assert cp.newest_complete(tmp_path).step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def test_a_full_disk_hidden_in_another_error_is_recognised_and_other_errors_pass(tmp_path):
    with pytest.raises(cp.CheckpointError, match="disk is full"), cp.disk_errors(tmp_path):
        try:
            raise OSError(errno.ENOSPC, "no space")
        except OSError as error:
            raise RuntimeError("serialisation failed") from error
    with pytest.raises(cp.CheckpointError, match="disk is full"), cp.disk_errors(tmp_path):
        raise RuntimeError("Error while serializing: IoError(Os { message: No space left on device })")
    with pytest.raises(PermissionError), cp.disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "denied")


def test_the_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(cp.CheckpointError("the disk is full")))
    assert isinstance(error, cp.CheckpointError) and str(error) == "checkpoint: the disk is full"


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 5, "first")
    assert (save(tmp_path, 5, "second").planner_dir / "model.safetensors").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["step-000005"]


def test_a_copy_that_lost_or_cut_a_file_is_passed_over_and_named(tmp_path):
    save(tmp_path, 1)
    cut = save(tmp_path, 2)
    (cut.planner_dir / "model.safetensors").write_text("w")
    lost = save(tmp_path, 3)
    (lost.learner_dir / "rank-0.pt").unlink()
    assert cp.newest_complete(tmp_path).step == 1
    with pytest.raises(cp.CheckpointError, match=r"model\.safetensors has 1 bytes of 7"):
        cp.open_checkpoint(cut.path)
    with pytest.raises(cp.CheckpointError, match=r"rank-0\.pt is missing"):
        cp.open_checkpoint(lost.path)
    assert cp.open_checkpoint(tmp_path / "step-000001").step == 1


def test_things_that_are_no_checkpoints_are_refused_by_name(tmp_path):
    with pytest.raises(cp.CheckpointError, match="not a checkpoint"):
        cp.open_checkpoint(tmp_path)
    bare = tmp_path / "step-000009"
    bare.mkdir()
    with pytest.raises(cp.CheckpointError, match=r"manifest\.json is missing"):
        cp.open_checkpoint(bare)


def test_unreadable_state_is_reported(tmp_path):
    saved = save(tmp_path, 1)
    (saved.path / "state.json").write_text("{")
    with pytest.raises(cp.CheckpointError, match=r"state\.json cannot be read"):
        saved.state()


def test_prune_keeps_the_newest(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step)
    assert [p.name for p in cp.prune(tmp_path, 2)] == ["step-000001", "step-000002", "step-000003"]
    assert [c.step for c in cp.complete(tmp_path)] == [4, 5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000004", "step-000005"]
    with pytest.raises(ValueError):
        cp.prune(tmp_path, 0)


def test_what_is_kept_ready_stays_while_it_is_the_newest_and_counts_for_none(tmp_path):
    for step, state in ((1, {}), (2, {}), (3, {cp.READY: True}), (4, {cp.READY: True})):
        with cp.writing(tmp_path, step) as draft:
            cp.publish(draft, state)
    cp.prune(tmp_path, 2)
    assert [each.step for each in cp.complete(tmp_path)] == [1, 2, 4]
    save(tmp_path, 5)
    cp.prune(tmp_path, 2)
    assert [each.step for each in cp.complete(tmp_path)] == [2, 5]


def test_the_manifest_lists_every_other_file_with_its_size(tmp_path):
    saved = save(tmp_path, 1)
    files = json.loads((saved.path / "manifest.json").read_text())["files"]
    assert files == {
        "learner/rank-0.pt": 5,
        "planner/model.safetensors": 7,
        "state.json": (saved.path / "state.json").stat().st_size,
    }


def test_the_best_stays_and_what_is_spared_stays(tmp_path):
    for step, measured in ((1, {"a": 0.2}), (2, {"a": 0.9}), (3, {"b": 5.0}), (4, None), (5, {"a": 0.1})):
        with cp.writing(tmp_path, step) as draft:
            cp.publish(draft, {} if measured is None else {cp.MEASURED: measured})
    cp.prune(tmp_path, 1, best="a", spare=[tmp_path / "step-000003"])
    assert [each.step for each in cp.complete(tmp_path)] == [2, 3, 5]
    cp.prune(tmp_path, 1)
    assert [each.step for each in cp.complete(tmp_path)] == [5]
