"""Compositions of ``conf/`` and model directories for tests that load no model."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from launch.entry import CONFIG_DIR


def make_model(directory: Path) -> Path:
    """A directory that looks like a Hugging Face checkpoint to checks that load nothing."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def compose_config(*overrides: str) -> DictConfig:
    """What Hydra makes of ``conf/`` and overrides."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("config", list(overrides))
