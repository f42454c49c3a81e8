"""The checkpoint that a command works on, and the configuration of the run that wrote it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.planning.model_card import PROMPT
from tracelift_ray.planning.saved import completed
from tracelift_ray.tasks.presets import prompt_identity


def check_given(cfg: DictConfig) -> None:
    """Raises ConfigError where no ``checkpoint`` is named."""
    if OmegaConf.is_missing(cfg, "checkpoint"):
        right = "is needed: a checkpoint of a run, or a Hugging Face directory"
        raise ConfigError("checkpoint", ConfigError.MISSING, right)


def existing(path: str) -> Path:
    """The absolute path of the checkpoint. Raises ConfigError where it is no directory."""
    checkpoint = Path(path).absolute()
    if not checkpoint.is_dir():
        right = "is no directory; give a checkpoint of a run, or a Hugging Face directory"
        raise ConfigError("checkpoint", str(checkpoint), right)
    return checkpoint


def planner_of(checkpoint: Path) -> Path:
    """The planner's model in a checkpoint of a run; any other directory is one itself."""
    parts = (checkpoint / name for name in ("merged", "planner"))  # merged: of adapters, which are no model
    return next((part for part in parts if part.is_dir()), checkpoint)


def keep_prompts(config: DictConfig, planner: Path) -> None:
    """Set the prompts that a run saved beside a planner's weights, unless the command line has others."""
    kept = planner / PROMPT
    given = {override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task}
    for key in ("planner.prompt", "executor.prompt"):
        if kept.is_file() and key not in given:
            OmegaConf.update(config, key, str(kept))


def run_configuration(checkpoint: Path, defaults: DictConfig, own: Collection[str]) -> DictConfig | None:
    """The configuration of the run that wrote ``checkpoint``, with this command's overrides; None outside a run.

    Args:
        defaults: what Hydra composed for this command.
        own: keys of the command itself, which are no overrides of the run.

    Raises:
        ConfigError: an override that chooses a group.
    """
    snapshot = checkpoint.parent.parent / "config.yaml"
    if not snapshot.is_file():
        return None
    saved = OmegaConf.load(snapshot)
    assert isinstance(saved, DictConfig)
    config = completed(saved, defaults)
    for role in ("planner", "executor"):  # as they were, whatever has become of the files since
        kept = snapshot.parent / "prompts" / f"{role}.yaml"
        if kept.is_file() and prompt_identity(str(kept)) != config[role]["prompt"]:
            OmegaConf.update(config, f"{role}.prompt", str(kept))
    overrides = [o for o in HydraConfig.get().overrides.task if o.partition("=")[0].partition(".")[0] not in own]
    for key, _, value in (override.partition("=") for override in overrides):
        if "." not in key and (key not in config or isinstance(config[key], DictConfig)):
            right = (
                "no group can be chosen for a checkpoint of a run; override single fields, such as "
                f"evaluation.num_samples=4 (the run's own are in {snapshot})"
            )
            raise ConfigError(key, value, right)
    config.merge_with_dotlist(overrides)
    return config
