"""Checks of the files and directories that a run names, by their first bytes and without loading any of it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import EngineConfig, ReasoningRmConfig
from tracelift_ray.config.paths import DEMO, GYM, SETTINGS, check_file, check_writable
from tracelift_ray.config.schema import DataConfig, LoraConfig, RunConfig
from tracelift_ray.data.data_sets import is_data_set
from tracelift_ray.data.file_kinds import file_kind
from tracelift_ray.data.readings import reading_of
from tracelift_ray.demo.world import DEMO_TASKS
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.errors import DataError
from tracelift_ray.lora.directory import adapter_base, is_adapter_directory, model_shapes
from tracelift_ray.planning.checkpoints import (
    check_architecture,
    check_checkpoint,
    check_generates,
    check_heads,
    check_length,
)
from tracelift_ray.reasoning_rm.scoring.kinds import scorer_kind
from tracelift_ray.reward.arms import requirements
from tracelift_ray.tasks.gym import INSTALL
from tracelift_ray.types import REWARD_MODEL_ENDING

if TYPE_CHECKING:
    from tracelift_ray.tasks.templates import PromptFile

DEMO_SOURCES = tuple(f"{DEMO}{task}" for task in DEMO_TASKS)
#: Where ``ray job submit --working-dir`` unpacks its copy, which is deleted after the job.
_RAY_COPY = "/runtime_resources/working_dir_files/"


def check_models(config: RunConfig) -> None:
    """Every model directory that the run will load must hold one.

    Raises:
        ConfigError: names the directory and what it lacks.
    """
    planner, executor = config.planner, config.executor
    _check_generator("planner.model", planner.model, planner.prompt, planner.engine)
    check_targets(config.learner.lora, planner.model)
    if config.learner.sequence_parallel > 1:
        check_heads("learner.sequence_parallel", config.learner.sequence_parallel, planner.model)
    _check_generator("executor.model", executor.model, executor.prompt, executor.engine)
    if not requirements(config.reward).rubric:
        return
    directory = scorer_kind(config.reasoning_rm).directory(config.reasoning_rm)
    if directory is not None and not directory.path:
        right = (
            f"reward.arm={config.reward.arm} needs scores of traces; give the directory of {directory.what}, or use "
            "reasoning_rm=remote, reasoning_rm=judge, reward=exec_only or reward=uplift_only"
        )
        raise ConfigError(f"reasoning_rm.{directory.key}", directory.path, right)
    check_scorer(config.reasoning_rm)


def check_scorer(rm: ReasoningRmConfig) -> None:
    """The directory that the scorer reads, if it reads one, must hold a model.

    Raises:
        ConfigError: names the directory and what it lacks.
    """
    kind = scorer_kind(rm)
    directory, prompt = kind.directory(rm), kind.prompt(rm)
    if directory is not None:
        key = f"reasoning_rm.{directory.key}"
        if directory.engine is not None:
            _check_generator(key, directory.path, directory.prompt, directory.engine)
        else:
            check_checkpoint(key, directory.path, directory.what)
            check_architecture(key, directory.path, REWARD_MODEL_ENDING, directory.what)
    if prompt:
        check_requests(f"reasoning_rm.{kind.part}.prompt", prompt)


def _check_generator(key: str, model: str, prompt: str, engine: EngineConfig) -> None:
    """The model of an engine of ours, or the tokenizer of one that is served elsewhere."""
    local = not is_remote(engine)
    if local and model:
        _check_no_adapters(key, model)
    check_checkpoint(key, model, weights=local)
    if local:
        check_generates(key, model)
        if "hf_overrides" not in engine.extra:
            check_length(f"{key.rpartition('.')[0]}.engine.max_model_len", engine.max_model_len, model)
    _check_chat(key, model, prompt)


def _check_no_adapters(key: str, model: str) -> None:
    directory = Path(model)
    if is_adapter_directory(directory):
        out = directory.with_name("merged") if directory.name == "planner" else "DIRECTORY"
        right = (
            "holds adapters, which are no model by themselves; merge them first: "
            f"python -m launch.merge base={adapter_base(directory)} adapter={model} out={out}"
        )
        raise ConfigError(key, model, right)


def _check_chat(key: str, model: str, prompt: str) -> None:
    own = key.rpartition(".")[0]
    if prompt and check_prompt(f"{own}.prompt", prompt).chat and not _has_chat_template(Path(model)):
        right = f"its tokenizer has no chat template, which {own}.prompt={prompt} needs; use plain"
        raise ConfigError(key, model, right)


def check_targets(lora: LoraConfig, model: str) -> None:
    """Every layer that is to get an adapter must be in the model, as far as its files tell.

    Raises:
        ConfigError: names one that is not.
    """
    targets = lora.target_modules if lora.rank else ()
    tensors = model_shapes(Path(model)) if targets else {}
    layers = sorted(name.removesuffix(".weight") for name in tensors if name.endswith(".weight"))
    for target in targets if layers else ():
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            known = sorted({name.rpartition(".")[2] for name in layers if "norm" not in name})
            right = f"names {target}, which is no layer of {model}; it has {', '.join(known)}"
            raise ConfigError("learner.lora.target_modules", list(lora.target_modules), right)


def check_requests(key: str, prompt: str) -> None:
    """A prompt file with a prompt for requests to a judge or writer. Raises ConfigError."""
    if (file := check_prompt(key, prompt)).request is None:
        raise ConfigError(key, prompt, f"has no prompt for requests; add request to {file.path}, as in plain or chat")


def check_prompt(key: str, prompt: str) -> PromptFile:
    """A prompt file that exists and is sound.

    Raises:
        ConfigError: it is not; says where the fault lies.
    """
    from tracelift_ray.tasks.templates import read_prompts

    try:
        return read_prompts(prompt)
    except DataError as error:
        raise ConfigError(key, prompt, str(error).removeprefix(f"{prompt}: ")) from error


def _has_chat_template(directory: Path) -> bool:
    if any((directory / name).exists() for name in ("chat_template.jinja", "chat_template.json", "chat_templates")):
        return True
    try:
        settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def check_data(data: DataConfig) -> None:
    """Every source of problems must be a data set, a file with something in it, or one of the built-in worlds.

    Raises:
        ConfigError: names the source.
    """
    if not data.train:
        raise ConfigError("data.train", data.train, "must name a file or a data set")
    if data.weights and len(data.weights) != len(set(data.train)):
        right = f"must be one weight for each of the {len(data.train)} sources in data.train, none of them twice"
        raise ConfigError("data.weights", list(data.weights), right)
    for key, sources in (("data.train", data.train), ("data.heldout", data.heldout)):
        for source in sources:
            if source.startswith(DEMO):
                if source not in DEMO_SOURCES:
                    raise ConfigError(key, source, f"no such world; there are {' and '.join(DEMO_SOURCES)}")
                continue
            if source.startswith(GYM):
                if find_spec("reasoning_gym") is None:
                    raise ConfigError(key, source, f"needs reasoning-gym, which is not installed; {INSTALL}")
                continue
            _check_location(key, source, reading_of(source).location)


def _check_location(key: str, source: str, location: str) -> None:
    """What a source names must be a data set, or a file of a kind that is read."""
    if is_data_set(location):
        return
    if not Path(location).exists():
        right = "is not there; relative paths start where the command is run, a data set of the hub is hub:NAME"
        if Path(source).exists():
            right = f"is no name for a file: what follows {SETTINGS} is how a file is read; rename it"
        raise ConfigError(key, source, right)
    check_file(key, location)
    try:
        file_kind(location)
    except DataError as error:
        raise ConfigError(key, source, str(error).removeprefix(f"{location} ")) from None


def check_run_dir(config: RunConfig, *, trains: bool = True) -> None:
    """The run directory must be able to exist and to last, and a checkpoint to resume from must be there.

    Where the run ``trains``, and on machines that are here, something can be written there.

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
    if trains and not config.cluster.describe:
        check_writable("run_dir", config.run_dir, " or runs_root")
    if config.resume not in ("auto", "never") and not Path(config.resume).is_dir():
        raise ConfigError("resume", config.resume, "must be auto, never or the directory of a checkpoint")
