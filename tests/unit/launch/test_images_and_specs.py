"""Images and job specs, by reading: who runs in them, what they install again, which commit and keys they hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from launch.stopping import short_grace

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_image_runs_without_root_and_names_its_commit_and_base(kind: str) -> None:
    text = (ROOT / "docker" / f"Dockerfile.{kind}").read_text()
    assert re.search(r"^ARG BASE=\S+:\S+\nFROM \$\{BASE\}$", text, re.MULTILINE)
    before, _, after = text.partition("\nUSER 10001:10001\n")
    assert "apt-get" in before and "apt-get" not in after and "USER" not in after
    assert all("--chown=10001:10001" in line for line in text.splitlines() if line.startswith("COPY"))
    code = text.index("COPY --chown=10001:10001 . .")
    assert code < text.index("\nENV TRACELIFT_COMMIT=$COMMIT\n"), "another commit alone does not install again"
    installed = text.index(f"docker/install.sh .venv {kind}\n")
    assert text.index("docker/locks docker/locks") < installed < code and f"\nENV DEVICE={kind}\n" in text


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_make_in_an_image_finds_the_installation_done(tmp_path: Path, kind: str) -> None:
    locks = [str(path.relative_to(ROOT)) for path in (ROOT / "docker" / "locks").iterdir()]
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "docker/install.sh", *locks):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()

    def make(*arguments: str) -> str:
        command = ["env", f"DEVICE={kind}", "make", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert "docker/install.sh" in make("-n", "test-gpu")
    make("stamp")
    assert "docker/install.sh" not in make("-n", "test-gpu")
    with (tmp_path / f"docker/locks/{kind}-3.11.txt").open("a") as lock:
        lock.write("more==1\n")
    assert "docker/install.sh" in make("-n", "test-gpu"), "another lock is installed"


def test_specs_hold_no_key_and_kubernetes_runs_the_user_of_the_image() -> None:
    job = yaml.safe_load((ROOT / "launch/specs/ray_job.yaml").read_text())
    assert not [name for name in job["env_vars"] if re.search("KEY|TOKEN|SECRET|PASSWORD", name)]
    cluster = yaml.safe_load((ROOT / "launch/specs/kuberay_rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
        keys = [each for each in pod["containers"][0]["env"] if "KEY" in each["name"]]
        assert keys and all(each["valueFrom"]["secretKeyRef"] and "value" not in each for each in keys)


def test_specs_leave_a_job_that_is_stopped_the_time_for_a_checkpoint() -> None:
    job = yaml.safe_load((ROOT / "launch/specs/ray_job.yaml").read_text())["env_vars"]
    cluster = yaml.safe_load((ROOT / "launch/specs/kuberay_rayjob.yaml").read_text())["spec"]["runtimeEnvYAML"]
    for variables in (job, yaml.safe_load(cluster)["env_vars"]):
        assert short_grace({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", **variables}) is None
