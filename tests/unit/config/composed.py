"""Compositions of ``conf/`` and model directories for tests that load no model."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from launch.composition import composed


def make_model(directory: Path) -> Path:
    """A directory that looks like a Hugging Face checkpoint to checks that load nothing."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text('{"architectures": ["LlamaForReasonRewardModel"]}')
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(len(b"{}").to_bytes(8, "little") + b"{}")
    return directory


def compose_config(*overrides: str) -> DictConfig:
    """What Hydra makes of ``conf/`` and overrides."""
    return composed("config", overrides)
