"""Images and job specs, by reading: who runs in them, what they install again, which commit and keys they hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from launch.stopping import short_grace
from tests.unit.config.composed import compose_config

ROOT = Path(__file__).resolve().parents[3]
RAY_JOB = ROOT / "launch/specs/kuberay_rayjob.yaml"
#: A file that holds KubeRay's definition of a RayJob (docs/on_a_cluster.md says how to print it).
CRD = os.environ.get("KUBERAY_CRD", "")
#: Fields of a RayJob's spec that KubeRay and Kubernetes name, with their types.
FIELDS = dict(line.split(": ") for line in (Path(__file__).parent / "rayjob_fields.txt").read_text().splitlines())
TYPES = {"string": {str}, "integer": {int}, "boolean": {bool}, "quantity": {int, str}, "object": {dict}}
#: Maps whose keys the user chooses.
CHOSEN = ("rayStartParams", "requests", "limits")


def lint(program: str, text: str, *files: str) -> str:
    """What a linter of the extra `dev` says of files, and of ``text``, which it must find fault with."""
    tool = Path(sys.executable).parent / program
    assert subprocess.run([tool, "-"], input=text, capture_output=True, text=True, check=False).returncode == 1
    return subprocess.run([tool, *files], cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("script", ["launch/specs/slurm.sh", "docker/install.sh", "docker/lock.sh", ".ci/run"])
def test_shellcheck_finds_nothing_in_a_script(script: str) -> None:
    assert lint("shellcheck", "#!/bin/sh\nrm $1\n", script) == ""


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_hadolint_finds_nothing_in_an_image(kind: str) -> None:
    assert lint("hadolint", "FROM debian\n", f"docker/Dockerfile.{kind}") == ""


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_image_runs_without_root_and_names_its_commit_and_base(kind: str) -> None:
    text = (ROOT / "docker" / f"Dockerfile.{kind}").read_text()
    assert re.search(r"^ARG BASE=\S+:\S+@sha256:[0-9a-f]{64}\nFROM ", text, re.MULTILINE)
    assert re.findall(r"^FROM (.+)$", text, re.MULTILINE)[-1] == "${BASE}"
    before, _, after = text.partition("\nUSER 10001:10001\n")
    assert "apt-get" in before and "apt-get" not in after and "USER" not in after
    assert all("--chown=10001:10001" in line for line in after.splitlines() if line.startswith("COPY"))
    code = text.index("COPY --chown=10001:10001 . .")
    assert code < text.index("\nENV TRACELIFT_COMMIT=$COMMIT\n"), "another commit alone does not install again"
    installed = text.index(f"docker/install.sh .venv {kind}\n")
    assert (
        text.index(f"docker/locks/{kind}-*.txt docker/locks/") < installed < code and f"\nENV DEVICE={kind}\n" in text
    )
    extras = text.index('\nRUN if [ -n "$EXTRAS" ]; ')
    assert installed < extras < code < text.index('\nRUN make stamp EXTRAS="$EXTRAS"\n'), "no tests unless asked for"


def test_both_images_have_the_same_python_and_the_one_for_gpus_takes_it_whole() -> None:
    cpu, gpu = ((ROOT / "docker" / f"Dockerfile.{kind}").read_text() for kind in ("cpu", "gpu"))
    (base,) = re.findall(r"^ARG BASE=(\S+)$", cpu, re.MULTILINE)
    assert f"\nARG PYTHON={base}\n" in gpu and "\nFROM ${PYTHON} AS python\n" in gpu
    root = gpu.partition("\nUSER 10001:10001\n")[0]
    copied = re.findall(r"^COPY --from=python (\S+) (\S+)$", root, re.MULTILINE)
    # Not the whole of /usr/local, where CUDA is.
    assert copied == [(folder, folder) for folder in ("/usr/local/bin", "/usr/local/include", "/usr/local/lib")]
    loads = root[root.index("\nRUN ldconfig && python3.11 -c ") :]
    assert root.index("libssl3t64") < root.index("COPY --from=python") and " ssl," in loads
    assert not re.search(r"\bpython3(?![.\d])", gpu), "no second Python, which docker/install.sh could take"


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

    both = [f"docker/install.sh .venv {each}" for each in (kind, "dev")]
    assert re.findall(r"docker/install\S+ .*", make("-n", "test-gpu")) == both
    make("stamp")
    assert "docker/install.sh" not in make("-n", "demo")
    assert re.findall(r"docker/install\S+ .*", make("-n", "test-gpu")) == both[1:], "the stack stays as it is"
    make("stamp", "EXTRAS=dev")
    assert "docker/install.sh" not in make("-n", "test-gpu")
    with (tmp_path / f"docker/locks/{kind}-3.11.txt").open("a") as lock:
        lock.write("more==1\n")
    assert "docker/install.sh" in make("-n", "test-gpu"), "another lock is installed"


def ray_job(machines: int) -> dict[str, Any]:
    """The spec for one machine as it stands, for two as its first lines say."""
    text = RAY_JOB.read_text()
    (two,) = re.findall(r"^#   sed '(.+?)' launch/specs/kuberay_rayjob.yaml \| kubectl apply -f - ", text, re.MULTILINE)
    changed = subprocess.run(["sed", two], input=text, check=True, capture_output=True, text=True).stdout
    spec: dict[str, Any] = yaml.safe_load({1: text, 2: changed}[machines])["spec"]
    return spec


def pods(spec: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = spec["rayClusterSpec"]
    groups = (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    return [*(each["template"]["spec"] for each in groups), spec["submitterPodTemplate"]["spec"]]


def closed(schema: Any) -> Any:
    """``schema``, where what it does not name is wrong: Kubernetes would drop that without a word."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    named = "properties" in schema and "type" in schema and "x-kubernetes-preserve-unknown-fields" not in schema
    return {"additionalProperties": False, **inner} if named else inner


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a spec with its path; all items of a list, and all keys that the user chooses, have one path."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            key = "*" if path.rpartition(".")[2] in CHOSEN else name
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each, f"{path}[]")
    else:
        yield path, value


def named(schema: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every field that a definition names, as ``leaves`` has it, with its type."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from named(inner, f"{path}.{name}".lstrip("."))
    elif schema.get("type") == "array":
        yield from named(schema["items"], f"{path}[]")
    elif isinstance(inner := schema.get("additionalProperties"), dict):
        yield from named(inner, f"{path}.*")
    if path:
        yield path, "quantity" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "any")


def of_a_pod(path: str) -> str:
    """A path where the fields of every pod have the same."""
    return re.sub(r"^.*[tT]emplate\.spec\.", "pod.", path)


@pytest.mark.parametrize("machines", [1, 2])
def test_a_job_on_kubernetes_says_only_what_kuberay_names_and_in_its_types(machines: int) -> None:
    """Of its 1.6.2 and 1.7; ``FIELDS`` are those that the spec uses. Another name would be dropped without a word."""
    said = [(of_a_pod(path), value) for path, value in leaves(ray_job(machines))]
    assert {path for path, _ in said} == FIELDS.keys()
    assert [(path, value) for path, value in said if type(value) not in TYPES[FIELDS[path]]] == []


@pytest.mark.skipif(not CRD, reason="KUBERAY_CRD does not name KubeRay's definition of a RayJob")
def test_kuberay_names_the_fields_as_the_test_above_does() -> None:
    versions = yaml.load(Path(CRD).read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = (each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1")
    known = ((of_a_pod(path), kind) for path, kind in named(schema["properties"]["spec"]))
    assert {path: kind for path, kind in known if path in FIELDS} == FIELDS


@pytest.mark.parametrize("machines", [1, 2])
@pytest.mark.skipif(not CRD, reason="KUBERAY_CRD does not name KubeRay's definition of a RayJob")
def test_kuberay_knows_all_that_the_spec_says(machines: int) -> None:
    versions = yaml.load(Path(CRD).read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = (each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1")
    spec = ray_job(machines)
    check = jsonschema.Draft202012Validator(closed(schema))
    assert [f"{list(each.absolute_path)}: {each.message}" for each in check.iter_errors({"spec": spec})] == []
    spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["tolerations"][0]["kee"] = "nvidia.com/gpu"
    assert not check.is_valid({"spec": spec})


@pytest.mark.parametrize("machines", [1, 2])
def test_kubernetes_gives_a_run_its_machines_and_waits_for_no_others(machines: int) -> None:
    spec = ray_job(machines)
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] == machines <= workers["maxReplicas"]
    assert f" experiment=gpu_{machines}x8 cluster=ray" in spec["entrypoint"] and spec["preRunningDeadlineSeconds"] > 0
    head, worker, submitter = pods(spec)
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    for pod in (head, worker, submitter):
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
        resources = pod["containers"][0]["resources"]
        assert resources["requests"].keys() == resources["limits"].keys()
        assert pod["containers"][0]["image"] == "tracelift-ray:gpu"


def test_kubernetes_starts_a_run_that_failed_again_and_it_resumes() -> None:
    spec = ray_job(1)
    assert spec["backoffLimit"] > 0 and spec["shutdownAfterJobFinishes"]
    (runs,) = (each["value"] for each in pods(spec)[0]["containers"][0]["env"] if each["name"] == "TRACELIFT_RUNS")
    assert runs.startswith("/shared/"), "a later cluster finds the checkpoints"
    assert " resume=" not in spec["entrypoint"] and compose_config("experiment=gpu_1x8").resume == "auto"


def test_specs_hold_no_key_and_kubernetes_runs_the_user_of_the_image_without_rights() -> None:
    job = yaml.safe_load((ROOT / "launch/specs/ray_job.yaml").read_text())
    assert not [name for name in job["env_vars"] if re.search("KEY|TOKEN|SECRET|PASSWORD", name)]
    head, worker, submitter = pods(ray_job(1))
    for pod in (head, worker, submitter):
        user = {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert pod["securityContext"] == user and pod["automountServiceAccountToken"] is False
        rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert [each["securityContext"] for each in pod["containers"]] == [rights]
    for pod in (head, worker):
        keys = [each for each in pod["containers"][0]["env"] if "KEY" in each["name"]]
        assert keys and all(each["valueFrom"]["secretKeyRef"] and "value" not in each for each in keys)


def test_specs_leave_a_job_that_is_stopped_the_time_for_a_checkpoint() -> None:
    job = yaml.safe_load((ROOT / "launch/specs/ray_job.yaml").read_text())["env_vars"]
    spec = ray_job(1)
    cluster = yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]
    for variables in (job, cluster):
        assert short_grace({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", **variables}) is None
    for pod in pods(spec)[:2]:
        assert pod["terminationGracePeriodSeconds"] > int(cluster["RAY_JOB_STOP_WAIT_TIME_S"])
        hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert hook == ["python", "-m", "launch.pod_stop"]
