"""Checks of the files and directories that a run names, by what lies there and without loading any of it."""

from __future__ import annotations

import json
from pathlib import Path

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import DataConfig, ReasoningRmConfig, RunConfig
from tracelift_ray.engines.kinds import is_remote, needs_tokenizer
from tracelift_ray.reward.arms import requirements

DEMO_SOURCES = ("demo:math", "demo:code")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
#: Where ``ray job submit --working-dir`` unpacks its copy, which is deleted after the job.
_RAY_COPY = "/runtime_resources/working_dir_files/"


def check_models(config: RunConfig) -> None:
    """Every model directory that the run will load must hold one.

    Raises:
        ConfigError: names the directory and what it lacks.
    """
    _check_model("planner.model", config.planner.model, config.planner.prompt)
    remote = is_remote(config.executor.engine)
    _check_model("executor.model", config.executor.model, config.executor.prompt, weights=not remote)
    rm, needed = config.reasoning_rm, requirements(config.reward).rubric
    if needed and rm.backend == "model" and not rm.model:
        right = (
            f"reward.arm={config.reward.arm} needs a reasoning RM; give a directory made by `python -m "
            "launch.train_rm`, or use reasoning_rm=remote, reasoning_rm=judge, reward=exec_only or reward=uplift_only"
        )
        raise ConfigError("reasoning_rm.model", rm.model, right)
    if needed or rm.model:
        check_scorer(rm)


def check_scorer(rm: ReasoningRmConfig) -> None:
    """The directory that the reasoning RM's backend reads must hold a model; a service needs none.

    Raises:
        ConfigError: names the directory and what it lacks.
    """
    if rm.backend == "model":
        _check_model("reasoning_rm.model", rm.model)
    elif rm.backend == "judge" and rm.judge is not None:
        weights = not is_remote(rm.judge.engine)
        if needs_tokenizer(rm.judge.engine, rm.judge.remote):
            _check_model("reasoning_rm.judge.model", rm.judge.model, rm.judge.prompt, weights=weights)


def _check_model(key: str, model: str, prompt: str = "", *, weights: bool = True) -> None:
    if not model:
        raise ConfigError(key, model, "must be the directory of a Hugging Face checkpoint")
    directory = Path(model)
    if not directory.is_dir():
        raise ConfigError(key, model, "is no directory; give the directory of a Hugging Face checkpoint")
    if weights and not (directory / "config.json").is_file():
        raise ConfigError(key, model, "the directory has no config.json; it is no Hugging Face checkpoint")
    if weights and not any(_holds(directory, pattern) for pattern in _WEIGHTS):
        right = "the directory has no weights (*.safetensors or pytorch_model*.bin); copy the whole checkpoint"
        raise ConfigError(key, model, right)
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise ConfigError(key, model, "the directory has no tokenizer (such as tokenizer.json)")
    if prompt == "chat" and not _has_chat_template(directory):
        right = f"its tokenizer has no chat template, which {key.rpartition('.')[0]}.prompt=chat needs; use plain"
        raise ConfigError(key, model, right)


def _holds(directory: Path, pattern: str) -> bool:
    return any(path.stat().st_size > 0 for path in directory.glob(pattern) if path.is_file())


def _has_chat_template(directory: Path) -> bool:
    if any((directory / name).exists() for name in ("chat_template.jinja", "chat_template.json", "chat_templates")):
        return True
    try:
        settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def check_data(data: DataConfig) -> None:
    """Every source of problems must be a file with something in it, or one of the built-in worlds.

    Raises:
        ConfigError: names the source.
    """
    if not data.train:
        raise ConfigError("data.train", data.train, "must name a file or more")
    for key, sources in (("data.train", data.train), ("data.heldout", data.heldout)):
        for source in sources:
            if source.startswith("demo:"):
                if source not in DEMO_SOURCES:
                    raise ConfigError(key, source, f"no such world; there are {' and '.join(DEMO_SOURCES)}")
            elif not Path(source).is_file():
                raise ConfigError(key, source, "is no file; relative paths start where the command is run")
            elif Path(source).stat().st_size == 0:
                raise ConfigError(key, source, "the file is empty")


def check_run_dir(config: RunConfig) -> None:
    """The run directory must be able to exist and to last, and a checkpoint to resume from must be there.

    Raises:
        ConfigError: names the path.
    """
    if not config.name or config.name.strip(". ") == "":
        raise ConfigError("name", config.name, "must be a word that can name a directory")
    if _RAY_COPY in f"{config.run_dir}/":
        right = (
            "lies in the temporary copy that a Ray job runs in, and would be lost; give an absolute run_dir or "
            "runs_root, or set TRACELIFT_RUNS in the job's environment"
        )
        raise ConfigError("run_dir", config.run_dir, right)
    path = Path(config.run_dir)
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise ConfigError("run_dir", config.run_dir, f"{part} is a file; choose a directory")
            break
    if config.resume not in ("auto", "never") and not Path(config.resume).is_dir():
        raise ConfigError("resume", config.resume, "must be auto, never or the directory of a checkpoint")
