"""Loading the policy and its frozen reference for training.

Promises: a directory that cannot be loaded is refused with one line that names it; dropout is off, so that the same
tokens have the same log-probs before, during and after an update.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tracelift_ray.errors import DataError


def load_causal_lm(model: str, dtype: str, *, gradient_checkpointing: bool = False) -> Any:
    """The causal language model in the local directory ``model``, on the CPU, in ``dtype`` (``float32``, …).

    Raises:
        DataError: the directory is missing or lacks a config or weights.
    """
    from transformers import AutoModelForCausalLM

    check_model_directory(model)
    try:
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype), local_files_only=True)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"the model {model} cannot be loaded: {str(error).splitlines()[0]}") from error
    _disable_dropout(loaded)
    if gradient_checkpointing:
        loaded.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return loaded


def check_model_directory(model: str) -> None:
    """Raise DataError, saying what is missing, where ``model`` is not a local directory with config and weights."""
    path = Path(model)
    if not path.is_dir():
        raise DataError(f"the model directory {model} does not exist; give a local Hugging Face directory")
    if not (path / "config.json").is_file():
        raise DataError(f"{model} is not a Hugging Face model directory: config.json is missing")
    if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
        raise DataError(f"{model} holds no weights (*.safetensors or *.bin); was it downloaded in full?")


def _disable_dropout(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0  # type: ignore[assignment]  # read by the attention functions themselves
