"""What a submitted job is: checked here first, absolute paths, no secret in clear, no weights and no repository."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ray._private.runtime_env.packaging import create_package

from actors import jobs
from actors.sealed import SEALED, cluster_token, open_secrets, opened, seal
from launch.composition import composed
from launch.submit import EXCLUDES, STOP_WAIT, commit_variable, job_overrides, main, sealed
from tests.commands import Done, run_command
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import resolved_values
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.tracking.run_dir import CodeVersion

TOKEN = "a" * 64
Submit = Callable[..., tuple[Done, list[dict[str, Any]]]]


@dataclass
class JobServer:
    """Takes jobs, and says that each ended with ``status`` and ``code``; ``losses`` come first in place of its output.

    Where it is ``gone``, this is all that it says of a job.
    """

    status: str = "SUCCEEDED"
    code: int | None = 0
    losses: list[Exception] = field(default_factory=list)
    gone: Exception | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def submit_job(self, **job: Any) -> str:
        self.jobs.append(job)
        return "raysubmit_1"

    async def tail_job_logs(self, job: str) -> Any:
        for line in ("one\n", "two\n"):
            if self.losses:
                raise self.losses[0]
            yield line

    def get_job_info(self, job: str) -> Any:
        from ray.job_submission import JobDetails, JobStatus

        if self.gone is not None:
            raise self.gone
        status = JobStatus("RUNNING" if self.losses else self.status)
        del self.losses[:1]
        return JobDetails(type="SUBMISSION", status=status, entrypoint="", driver_exit_code=self.code)


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Submit]:
    """Submits the quickstart to a server that ends as asked; how that ended, and the jobs that arrived."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACELIFT_RUNS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)

    def run(*overrides: str, **how: Any) -> tuple[Done, list[dict[str, Any]]]:
        server = JobServer(**how)
        monkeypatch.setattr(jobs, "job_server", lambda address: server)
        return run_command(main, *overrides, "experiment=quickstart"), server.jobs

    yield run


@pytest.mark.parametrize("wrong", ["total_step=3", "learner.zero_stage=7", "planner.model=nowhere", "cluster=local"])
def test_a_wrong_override_fails_before_anything_is_submitted(submit: Submit, wrong: str) -> None:
    done, submitted = submit(wrong)
    assert (done.code, done.stdout, submitted) == (2, "", [])
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_job_is_plain_training_with_absolute_paths(submit: Submit, tmp_path: Path) -> None:
    done, (job,) = submit("total_steps=3", "stop_grace_s=60", "excludes=[notes]")
    assert done.code == 0, done.stderr
    assert f"run directory {tmp_path}/runs/quickstart" in done.stdout
    assert done.stdout.endswith(
        "job raysubmit_1 submitted to http://127.0.0.1:8265\none\ntwo\njob raysubmit_1: succeeded\n"
    )
    command = shlex.split(job["entrypoint"])
    assert command[:3] == ["python", "-m", "launch.train"]
    assert command[3:6] == ["cluster=ray", "total_steps=3", "experiment=quickstart"]
    assert not any(each.startswith(("stop_grace_s", "excludes")) for each in command)
    assert (
        to_run_config(composed("config", command[3:]), base=Path("/elsewhere")).run_dir == f"{tmp_path}/runs/quickstart"
    )
    environment = job["runtime_env"]["env_vars"]
    assert environment[STOP_WAIT] == "60" and SEALED not in environment
    assert job["runtime_env"]["excludes"][-1] == "notes"


def test_an_absolute_path_through_a_link_goes_as_it_was_given(submit: Submit, tmp_path: Path) -> None:
    (tmp_path / "data1").mkdir()
    (tmp_path / "shared").symlink_to("data1")
    done, (job,) = submit(f"runs_root={tmp_path}/shared/runs", f"data.solution_cache={tmp_path}/shared/cache")
    assert done.code == 0 and f"run directory {tmp_path}/shared/runs/quickstart, " in done.stdout
    assert "data1" not in job["entrypoint"] and "run_dir=" not in job["entrypoint"]
    _, (relative,) = submit("runs_root=shared/runs")
    assert f"run_dir='{tmp_path}/shared/runs/quickstart'" in shlex.split(relative["entrypoint"])
    _, (above,) = submit("run_dir=shared/../runs")  # as the system reads it, not as it is spelled
    assert f"run_dir='{tmp_path}/runs'" in shlex.split(above["entrypoint"])


@pytest.mark.parametrize(
    ("status", "code", "returned"), [("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", None, 130), ("SUCCEEDED", 0, 0)]
)
def test_the_exit_code_is_the_jobs_own(submit: Submit, status: str, code: int | None, returned: int) -> None:
    done, _ = submit(status=status, code=code)
    assert done.code == returned and done.stdout.endswith(f": {status.lower()}\n")


SHOWN = "`ray job logs --address http://127.0.0.1:8265 raysubmit_1` shows its output"
LEFT = f"the job goes on; {SHOWN}, with --follow as it comes"


def test_a_refused_output_is_said_once_and_the_job_is_followed_to_its_end(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "AGAIN_S", 0.0)
    done, _ = submit(losses=[aiohttp.ServerDisconnectedError()] * 3)
    _, _, followed = done.stdout.partition("8265\n")
    lost = f"no output of job raysubmit_1 (Server disconnected): {LEFT}\n"
    assert (done.code, followed) == (0, f"{lost}one\ntwo\njob raysubmit_1: succeeded\n")


def test_where_the_server_is_gone_the_job_is_said_to_go_on(submit: Submit) -> None:
    done, _ = submit(gone=ConnectionError("Failed to connect"))
    assert done.code == 1 and f"two\n\n{LEFT}; `ray job stop " in done.stdout
    assert done.stderr.startswith("error: job server: nothing answers at http") and done.stderr.count("\n") == 1


def test_a_job_need_not_be_followed_and_its_files_may_be_elsewhere(submit: Submit) -> None:
    models = ["planner.model=/only/there", "executor.model=/only/here", "reasoning_rm.model=/only/rm"]
    done, (job,) = submit(
        "follow=false", "check_files=false", "runs_root=/only/runs", *models, "data.train=[a b.jsonl,/c]"
    )
    assert (done.code, "one" in done.stdout) == (0, False)
    there = composed("config", shlex.split(job["entrypoint"])[3:])
    assert models == [f"{pool}.model={there[pool].model}" for pool in ("planner", "executor", "reasoning_rm")]
    assert there.run_dir == "/only/runs/quickstart" and list(there.data.train) == [f"{os.getcwd()}/a b.jsonl", "/c"]


def test_a_multirun_gives_every_job_its_name_and_directory(submit: Submit, tmp_path: Path) -> None:
    done, submitted = submit("-m", "seed=1,2")
    assert done.code == 0, done.stderr
    runs = [composed("config", shlex.split(job["entrypoint"])[3:]) for job in submitted]
    assert {(run.seed, run.name, run.run_dir) for run in runs} == {
        (seed, f"quickstart-seed-{seed}", f"{tmp_path}/runs/quickstart-seed-{seed}") for seed in (1, 2)
    }


def test_a_secret_goes_by_name_and_stands_nowhere_in_clear(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hush-hush")
    done, (job,) = submit("secrets=[A_KEY]", "tracking.entity=${oc.env:A_KEY}")
    assert "hush-hush" not in str(job) + done.stdout + done.stderr and "secrets" not in job["entrypoint"]
    assert "tracking.entity=${oc.env:A_KEY}" in shlex.split(job["entrypoint"])
    node = {SEALED: job["runtime_env"]["env_vars"][SEALED], "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    open_secrets(node)
    assert node["A_KEY"] == "hush-hush"


def test_what_is_sealed_is_opened_by_the_token_alone(tmp_path: Path) -> None:
    text = seal({"A": "1"}, TOKEN)
    assert text != seal({"A": "1"}, TOKEN) and opened(text, TOKEN) == {"A": "1"}
    for other in ("b" * 64, ""):
        with pytest.raises(InfrastructureError, match="another token"):
            opened(text, other)
    with pytest.raises(InfrastructureError, match="no token to open them"):
        open_secrets({SEALED: text})
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(f"{TOKEN}\n")
    assert cluster_token({"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}) == TOKEN
    assert cluster_token({"RAY_AUTH_TOKEN": TOKEN}) is None
    ray = (Path(sys.executable).with_name("ray"), "get-auth-token", "--generate")
    made = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path / "made")}
    done = subprocess.run(ray, env=os.environ | made, capture_output=True, text=True, check=True)
    assert cluster_token(made) and cluster_token(made) == done.stdout.split()[-1], done.stdout
    untouched: dict[str, str] = {}
    open_secrets(untouched)
    assert untouched == {}


@pytest.mark.parametrize(
    ("names", "environment", "says"),
    [
        (["A"], {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}, "A is not set here"),
        (["A=value"], {"A": "value"}, "must be names"),
        (["A"], {"A": "value", "HOME": "/nowhere"}, "sealed with the cluster's token, and there is none here"),
    ],
)
def test_a_secret_that_cannot_be_passed_is_refused(names: list[str], environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        sealed(names, environment)
    assert "value" not in str(refused.value).replace("their values", "")


def test_what_must_not_travel_stays(tmp_path: Path) -> None:
    stays = (
        *(
            ".git/HEAD",
            ".venv/bin/python",
            "runs/a/metrics.jsonl",
            "models/m/model.safetensors",
            "tests/unit/test_a.py",
        ),
        *("weights/model.safetensors", "a/pytorch_model.bin", "m.gguf", ".netrc", ".env", "launch/__pycache__/a.pyc"),
    )
    travels = ("setup.cfg", "launch/train.py", "conf/config.yaml", "tracelift_ray/demo/checkpoints/p/model.safetensors")
    tree, package = tmp_path / "tree", tmp_path / "package.zip"
    for name in (*stays, *travels):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    create_package(str(tree), package, include_gitignore=True, excludes=list(EXCLUDES))
    assert {name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")} == set(travels)


def test_a_job_is_told_which_code_it_is() -> None:
    ((name, value),) = commit_variable(CodeVersion("1", "f" * 40, dirty=True)).items()
    assert (name, value) == ("TRACELIFT_COMMIT", "f" * 40 + "-dirty")
    assert commit_variable(CodeVersion("1", None, dirty=False)) == {}


def test_a_cluster_that_is_chosen_by_name_is_not_chosen_twice() -> None:
    cfg = composed("config", ["experiment=quickstart", "cluster=ray", "run_dir=/a"])
    given = ["experiment=quickstart", "cluster=ray", "run_dir=/a", "address=x", "+secrets=[A]"]
    sent = job_overrides(given, resolved_values(cfg), to_run_config(cfg))
    assert sent[:3] == given[:3] and all("='/" in each for each in sent[3:])
