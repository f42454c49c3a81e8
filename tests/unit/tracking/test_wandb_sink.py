import dataclasses
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import pytest

from tests.hang import HANG_S
from tests.sinks import wandb_records, wandb_rows
from tests.unit.tracking.worlds import group, trajectory
from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.tracking import wandb_sink
from tracelift_ray.tracking.questions import best_of
from tracelift_ray.tracking.records import trajectory_record
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.wandb_sink import GROUPS, WandbSink, has_credentials, resolve_mode
from tracelift_ray.types import Baseline

OFFLINE = TrackingConfig("offline", "tracelift-ray-tests", None, 1, 4, "none", False, False, 0.0, 10.0, False, False, 5)
ONLINE = dataclasses.replace(OFFLINE, wandb="auto")
ROOT = Path(__file__).resolve().parents[3]
KEY = {"WANDB_API_KEY": "k"}


def start(run: RunDirectory, said: list[str], *, resumed: bool, config: TrackingConfig = OFFLINE) -> WandbSink:
    sink = WandbSink.start(config, run, {"seed": 1}, "test", resumed=resumed, say=said.append)
    assert sink is not None
    return sink


@pytest.mark.parametrize(
    ("wanted", "environment", "mode"),
    [
        ("auto", {}, "offline"),
        ("auto", KEY, "online"),
        ("auto", KEY | {"WANDB_MODE": "offline"}, "offline"),
        ("offline", KEY, "offline"),
        ("disabled", KEY, "disabled"),
        ("online", {}, "online"),
    ],
)
def test_the_mode_follows_the_configuration_then_the_key(
    tmp_path: Path, wanted: str, environment: dict[str, str], mode: str
) -> None:
    resolved, reason = resolve_mode(wanted, {"HOME": str(tmp_path)} | environment)
    assert resolved == mode and reason


def test_a_netrc_entry_counts_only_for_the_server_in_use(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    home = {"HOME": str(tmp_path)}
    assert has_credentials(home)
    assert not has_credentials(home | {"WANDB_BASE_URL": "http://other.example:8080"})
    (tmp_path / ".netrc").write_text("machine {{{ broken")
    assert not has_credentials(home)


def test_rows_are_whole_and_carry_their_step(tmp_path: Path, wandb_home: None) -> None:
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    sink = start(run, said, resumed=False)
    one = trajectory(outcomes=("passed",), rubric=0.5, uplift=0.5, reward=0.6)
    sink.log(1, {"reward/mean": 0.25})
    sink.log(1, {"evaluation/math/accuracy": 0.5})
    sink.log_traces(1, [trajectory_record(1, group(one, baseline=Baseline(1, 2)), one, 1.0)])
    sink.log(2, {"reward/mean": 0.75})
    sink.close()
    sink.close()
    first, second = wandb_rows(run.path)
    assert (first["step"], first["reward/mean"], first["evaluation/math/accuracy"]) == (1, 0.25, 0.5)
    assert (second["step"], second["reward/mean"]) == (2, 0.75)
    assert first["traces/nrows"] == 1
    assert len(said) == 1 and said[0].startswith("W&B: offline (tracking.wandb=offline)")
    tables = list(run.path.glob("wandb/offline-run-*/files/media/table/*.json"))
    assert json.loads(tables[0].read_text())["data"][0][7] == "passed"


def test_the_summary_has_the_best_value_where_there_is_one(tmp_path: Path, wandb_home: None) -> None:
    run = RunDirectory.create(tmp_path / "run")
    sink = start(run, [], resumed=False)
    for step, accuracy in ((1, 0.5), (2, 0.75), (3, 0.25)):
        shares = {"evaluation/math/leak": 1 - accuracy, "system/malformed": 1 - accuracy, "reward/mean": accuracy}
        sink.log(step, {"evaluation/math/accuracy": accuracy, "evaluation/code/uplift": accuracy, **shares})
    sink.close()
    defined = {
        record.metric.name: [f for f in ("max", "min", "last") if getattr(record.metric.summary, f)]
        for record in wandb_records(run.path)
        if record.HasField("metric") and record.metric.name.count("/")
    }
    assert defined == {
        "evaluation/math/accuracy": ["max", "last"],
        "evaluation/code/uplift": ["max", "last"],
        "evaluation/math/leak": ["min", "last"],
        "system/malformed": ["min", "last"],
    }
    assert best_of("reward/mean") is None and best_of("evaluation/math/rm_score") is None


def test_a_note_is_in_the_summary(tmp_path: Path, wandb_home: None) -> None:
    run = RunDirectory.create(tmp_path / "run")
    sink = start(run, [], resumed=False)
    sink.note("sandbox_tier", "landlock")
    sink.close()
    notes = [item for record in wandb_records(run.path) if record.HasField("summary") for item in record.summary.update]
    assert ("sandbox_tier", "landlock") in [(item.key, json.loads(item.value_json)) for item in notes]
    sink.note("sandbox_tier", "namespaces")


def test_a_killed_and_resumed_run_goes_on_as_the_same_run_without_a_step_twice(
    tmp_path: Path, wandb_home: None
) -> None:
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    program = (
        "import os, signal, sys, time; from tests.unit.tracking.test_wandb_sink import RunDirectory, start\n"
        "sink = start(RunDirectory.create(sys.argv[1]), [], resumed=False)\n"
        "for step in (1, 2, 3, 4): sink.log(step, {'reward/mean': float(step)})\n"
        "time.sleep(2.5)  # W&B writes once a second\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(run.path)], cwd=ROOT, timeout=HANG_S, check=False)
    killed_id = json.loads(run.wandb_state_path.read_text())["id"]
    # The row of step 4 was never sent, and the newest checkpoint is of step 2.
    resumed = start(run, said, resumed=True)
    assert resumed.run_id == killed_id
    for step in (3, 4, 5):
        resumed.log(step, {"reward/mean": float(step)})
    resumed.close()
    assert [row["step"] for row in wandb_rows(run.path)] == [1, 2, 3, 4, 5]


def test_a_fresh_start_in_an_old_directory_is_another_run(tmp_path: Path, wandb_home: None) -> None:
    run = RunDirectory.create(tmp_path / "run")
    first = start(run, [], resumed=False)
    first.close()
    second = start(run, [], resumed=False)
    second.close()
    assert second.run_id != first.run_id


def offline_instead(tmp_path: Path) -> str:
    """What is said of a run that should be online; it has one row, which is in the files."""
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    sink = start(run, said, resumed=False, config=ONLINE)
    sink.log(1, {"reward/mean": 0.25})
    sink.close()
    assert [row["reward/mean"] for row in wandb_rows(run.path)] == [0.25]
    (line,) = said
    assert line.startswith("W&B: offline (credentials found, but online it did not start: ") and "\n" not in line
    return line


def test_a_key_that_is_refused_makes_an_offline_copy_of_the_run(
    tmp_path: Path, wandb_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    offline_instead(tmp_path)


def test_a_server_that_is_not_reached_makes_an_offline_copy_of_the_run(
    tmp_path: Path, wandb_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_sink, "_INIT_TIMEOUT_S", 2.0)
    offline_instead(tmp_path)


@pytest.mark.parametrize("config", [OFFLINE, ONLINE], ids=["offline", "online, and its server refuses"])
@pytest.mark.parametrize("in_the_way", ["wandb", "wandb_run.json"])
def test_a_directory_that_cannot_be_written_is_one_line_and_no_error(
    tmp_path: Path, wandb_home: None, monkeypatch: pytest.MonkeyPatch, config: TrackingConfig, in_the_way: str
) -> None:
    """A file where W&B's directory should be, a directory where the sink's own file should: root is kept out, too."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_sink, "_INIT_TIMEOUT_S", 2.0)
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    (run.path / in_the_way).write_text("") if in_the_way == "wandb" else (run.path / in_the_way).mkdir()
    assert WandbSink.start(config, run, {}, "test", resumed=False, say=said.append) is None
    (line,) = said
    assert line.startswith("W&B: did not start (") and str(run.metrics_path) in line and "\n" not in line


@pytest.mark.parametrize("variable", ["WANDB_SERVICE", "WANDB_BASE_URL"])
def test_a_variable_that_means_nothing_to_w_and_b_is_one_line_and_no_error(
    tmp_path: Path, wandb_home: None, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "nonsense")
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    assert WandbSink.start(OFFLINE, run, {}, "test", resumed=False, say=said.append) is None
    (line,) = said
    assert line.startswith("W&B: did not start (") and "nonsense" in line and "\n" not in line


def test_what_w_and_b_does_not_take_is_one_line_and_no_error(tmp_path: Path, wandb_home: None) -> None:
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    sink = start(run, said, resumed=False)
    sink.log(1, {"reward/mean": 0.25})
    sink.log_distributions(2, {"distribution/reward": [float("nan")]})
    sink.log(3, {"reward/mean": 0.5})
    sink.close()
    assert len(said) == 2 and said[1].startswith("W&B: stopped (")


@pytest.mark.parametrize(("ends", "says"), [("SIGKILL", "stopped ("), ("SIGSTOP", "not all was sent in ")])
def test_a_service_that_dies_or_hangs_is_one_line_and_the_process_comes_to_its_end(
    tmp_path: Path, wandb_home: None, ends: str, says: str
) -> None:
    program = (
        "import os, signal, sys; from psutil import Process\n"
        "from tests.unit.tracking.conftest import alive\n"
        "from tests.unit.tracking.test_wandb_sink import HANG_S, RunDirectory, start, wandb_sink\n"
        "alive.SILENT_S = HANG_S\n"
        "sink = start(RunDirectory.create(sys.argv[1]), said := [], resumed=False)\n"
        "sink.log(1, {'reward/mean': 0.25})\n"
        "(service,) = (child for child in Process().children() if child.name() == 'wandb-core')\n"
        "service.send_signal(getattr(signal, sys.argv[2]))\n"
        "for step in range(2, 9): sink.log(step, {'reward/mean': 0.5})\n"
        "wandb_sink.FINISH_S = 0.5\n"
        "sink.close()\n"
        "print(*said, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), ends], cwd=ROOT, timeout=HANG_S, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    _, line = done.stdout.splitlines()
    assert line.startswith(f"W&B: {says}")


def test_a_service_that_hangs_holds_up_no_step_and_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls to W&B wait for a service that does not read, once their buffer is full."""
    taken, waiting, said = list[int](), threading.Event(), list[str]()

    def log(row: dict[str, float], step: int, commit: bool) -> None:
        taken.append(step)
        waiting.wait(HANG_S)

    sink = WandbSink(SimpleNamespace(log=log), "id", -1, tmp_path / "state.json", said.append)
    for step in range(5):
        sink.log(step, {"reward/mean": 0.5})
    assert not said
    monkeypatch.setattr(wandb_sink, "PATIENCE_S", 0.0)
    ends = monotonic() + HANG_S
    while not said and monotonic() < ends:
        sink.log(step := step + 1, {"reward/mean": 0.5})
    sink.close()
    waiting.set()
    (line,) = said
    assert line.startswith("W&B: stopped (its service has taken nothing for ") and taken == [0]


def test_a_server_that_takes_no_more_holds_up_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_sink, "FINISH_S", 0.05)
    waiting, said = threading.Event(), list[str]()

    class Stuck:
        def finish(self, exit_code: int) -> None:
            waiting.wait(HANG_S)

    WandbSink(Stuck(), "id", -1, tmp_path / "state.json", said.append).close()
    waiting.set()
    assert len(said) == 1 and "`wandb sync`" in said[0]


def test_every_group_of_metrics_that_the_docs_list_has_the_step_axis() -> None:
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    listed = page.partition("\n## metrics.jsonl\n")[2].partition("\n## trajectories.jsonl\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", listed, re.MULTILINE)
    named = {name.partition("/")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert "`distribution/`" in listed and set(GROUPS) == named | {"distribution"}
