"""Submits a training run as a Ray job: ``tracelift submit address=http://HEAD:8265 experiment=NAME key=value …``.

The overrides are composed and checked here first, so that a wrong one fails before anything is submitted. Under it is
plain job submission: the checkout as working directory, and ``python -m launch.train`` with the same overrides. Paths
are made absolute, because a job runs in a temporary copy. Secrets go by name and are sealed (``actors/sealed.py``).
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from launch.conf_files import CONFIG_DIR
from launch.entry import FAILED, INTERRUPTED, entry_point
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import plain_config, resolved_values, to_dataclass
from tracelift_ray.config.rules import PositiveCount
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.tracking.alive import heartbeat
from tracelift_ray.tracking.run_dir import COMMIT_VARIABLE, CodeVersion, code_version

#: What a job does without. What .gitignore names stays here, too.
EXCLUDES = (
    *(".git", ".venv", "runs", "outputs", "multirun", "wandb", "models", "build", "*.egg-info", "__pycache__"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "/tests", "/docs", "/benchmarks"),
    # Weights, but those of the demo.
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf", "!/tracelift_ray/demo/checkpoints/**/*.safetensors"),
    # Keys that lie about.
    *(".netrc", ".env", "auth_token"),
)
#: Ray's supervisor of a job reads it: seconds from SIGTERM to SIGKILL.
STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"


@dataclass(frozen=True)
class SubmitConfig:
    """How the job of a run is submitted."""

    address: str
    secrets: tuple[str, ...]
    excludes: tuple[str, ...]
    check_files: bool
    follow: bool
    stop_grace_s: PositiveCount


KEYS = frozenset(SubmitConfig.__dataclass_fields__)


@entry_point("submit")
def main(cfg: DictConfig) -> int:
    """Check, submit, follow; the exit code of the job."""
    config = to_dataclass(SubmitConfig, OmegaConf.masked_copy(cfg, list(KEYS)))
    run = to_run_config(cfg, extra=KEYS, files=config.check_files)
    if run.cluster.address == "local":
        raise ConfigError(
            "cluster.address", "local", "must be auto: a job uses the cluster that it runs on; leave it out"
        )
    overrides = job_overrides(_given(), resolved_values(cfg), run)
    environment = {**commit_variable(code_version()), STOP_WAIT: str(config.stop_grace_s), **sealed(config.secrets)}

    from actors.jobs import job_server

    with heartbeat(partial(print, flush=True), f"reaching {config.address}") as beat:
        client = job_server(config.address)
        beat.say(f"run directory {run.run_dir}, which every node must see")
        beat.doing(f"packing and sending the code to {config.address}")
        job = _submit(client, config, shlex.join(["python", "-m", "launch.train", *overrides]), environment)
    print(f"job {job} submitted to {config.address}", flush=True)
    return asyncio.run(_follow(client, config.address, job)) if config.follow else 0


def _given() -> list[str]:
    """The overrides as they were typed: a reference, to an environment variable say, stays one."""
    typed = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(typed, list)
    return [str(each) for each in typed]


def job_overrides(given: Sequence[str], composed: Mapping[str, Any], run: RunConfig) -> list[str]:
    """The overrides of ``launch.train`` in the job: those given, on the cluster there, with absolute paths.

    Args:
        given: the command line's overrides, those of this command included.
        composed: the configuration as composed, relative paths as they are.
        run: the same, with every path absolute.
    """
    own = [each for each in given if each.lstrip("+~").partition("=")[0].partition(".")[0] not in KEYS]
    chosen = any(each.partition("=")[0] == "cluster" for each in own)
    paths = [f"{key}={_quoted(value)}" for key, value in _changed(composed, plain_config(run))]
    return [*([] if chosen else ["cluster=ray"]), *own, *paths]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every path that was relative."""
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            yield from _changed(old, value, f"{prefix}{key}.")
        elif isinstance(value, (str, list)) and value != old:
            yield f"{prefix}{key}", value


def _quoted(value: Any) -> str:
    """A value as Hydra's command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_quoted, value))}]"
    return "'" + str(value).replace("'", "\\'") + "'"


def commit_variable(code: CodeVersion) -> dict[str, str]:
    """What tells the run, whose copy is no repository, which code it is."""
    return {} if code.commit is None else {COMMIT_VARIABLE: code.commit + ("-dirty" if code.dirty else "")}


def sealed(names: Sequence[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variable that carries the values of these, sealed. Raises ConfigError where one cannot be passed."""
    if not names:
        return {}
    from actors.sealed import SEALED, cluster_token, seal

    for name in names:
        if name.partition("=")[1]:
            raise ConfigError(
                "secrets", "…", "must be names of environment variables; their values stay out of commands"
            )
        if not environment.get(name):
            raise ConfigError("secrets", list(names), f"{name} is not set here; export it, or leave it out")
    token = cluster_token(environment)
    if token is None:
        right = (
            "cannot be passed: they are sealed with the cluster's token, and there is none here (RAY_AUTH_MODE=token, "
            "RAY_AUTH_TOKEN or ~/.ray/auth_token); give them to the nodes instead (docs/security.md, Keys and tokens)"
        )
        raise ConfigError("secrets", list(names), right)
    return {SEALED: seal({name: environment[name] for name in names}, token)}


def runtime_environment(config: SubmitConfig, variables: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Ray's runtime environment: the checkout without what must not travel; none where the project is installed."""
    copy = {"working_dir": str(root), "excludes": [*EXCLUDES, *config.excludes]}
    return {**(copy if (root / "setup.cfg").is_file() else {}), "env_vars": dict(variables)}


def _submit(client: Any, config: SubmitConfig, command: str, variables: Mapping[str, str]) -> str:
    from actors.jobs import told_of

    with told_of(config.address):
        job: str = client.submit_job(
            entrypoint=command, runtime_env=runtime_environment(config, variables, CONFIG_DIR.parent)
        )
    return job


async def _follow(client: Any, address: str, job: str) -> int:
    """Show the output until the job ends; its exit code."""
    from actors.jobs import followed, told_of

    goes_on = f"the job goes on; `ray job logs --address {address} {job}` shows its output, with --follow as it comes"
    try:
        with told_of(address), heartbeat(partial(print, flush=True), f"following job {job}") as beat:

            def show(text: str) -> None:
                print(text, end="", flush=True)
                beat.heard()

            def lost(cause: str) -> None:
                beat.say(f"no output of job {job} ({cause}): {goes_on}")

            details = await followed(client, job, show, lost)
    except (asyncio.CancelledError, InfrastructureError):
        print(f"\n{goes_on}; `ray job stop --address {address} {job}` ends it in order", flush=True)
        raise
    print(f"job {job}: {details.status.lower()}")
    if details.status == "STOPPED":
        return INTERRUPTED
    return details.driver_exit_code or (0 if details.status == "SUCCEEDED" else FAILED)


if __name__ == "__main__":
    main()
