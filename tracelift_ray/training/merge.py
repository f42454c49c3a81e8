"""Adapters and their base model as one ordinary Hugging Face directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoConfig

from tracelift_ray.errors import DataError
from tracelift_ray.tracking.alive import heartbeat
from tracelift_ray.training.export import copy_tokenizer, whole_directory, write_model
from tracelift_ray.training.merge_settings import MergeConfig
from tracelift_ray.training.models import load_causal_lm


def merge(config: MergeConfig, say: Callable[[str], None]) -> None:
    """Write ``config.out``. The sum is taken in float32, whatever the dtype of the weights.

    Args:
        say: gets a line wherever it takes long.

    Raises:
        DataError: base or adapters cannot be loaded.
        CheckpointError: the disk is full.
    """
    with heartbeat(say, f"merging {config.adapter} into {config.base}"):
        _merge(config)


def _merge(config: MergeConfig) -> None:
    from peft import PeftModel

    base = load_causal_lm(config.base, "float32")
    dtype = AutoConfig.from_pretrained(config.base, local_files_only=True).dtype
    if config.dtype != "auto":
        dtype = getattr(torch, config.dtype)
    try:
        merged = PeftModel.from_pretrained(base, config.adapter, local_files_only=True).merge_and_unload()
    except (ValueError, KeyError, RuntimeError, TypeError) as error:  # PEFT's, for what its files do not fit
        raise DataError(f"{config.adapter} cannot be merged: {' '.join(str(error).split())[:300]}") from error
    with whole_directory(Path(config.out)) as draft:
        write_model(merged.to(dtype or torch.float32), draft)
        copy_tokenizer(Path(config.base), draft)
