"""Supervised training of the demo's small language models: rows of text, parts of which are learned.

The rows are texts of the world and are turned to ids word by word, which for such texts is what the tokenizer does.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tracelift_ray.demo.tokenizer import BOS, EOS, MAX_LENGTH, PAD, vocabulary
from tracelift_ray.training.engine import EngineSettings, alone

HIDDEN_SIZE, LAYERS, HEADS, FEED_FORWARD = 128, 3, 4, 384
LAST_LR_SHARE = 0.05
ENGINE = EngineSettings(
    owner="demo",
    collective="gloo",
    zero_stage=0,
    dtype="float32",
    grad_clip=1.0,
    startup_s=60.0,
    deadline_s=60.0,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A piece of a row's text, and whether its tokens are learned."""

    text: str
    learned: bool


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: cosine from ``lr`` down to a twentieth after a linear warm-up."""

    steps: int
    rows_per_step: int
    lr: float
    warmup_steps: int
    weight_decay: float = 0.01

    def lr_at(self, step: int, peak: float) -> float:
        """The learning rate of a step, counted from 0, under a peak."""
        decay = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return peak * min(1.0, (step + 1) / self.warmup_steps) * (LAST_LR_SHARE + (1 - LAST_LR_SHARE) * decay)


def new_language_model() -> Any:
    """An untrained Llama of about 0.66 million parameters over the world's vocabulary, with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = vocabulary()
    config = LlamaConfig(
        vocab_size=len(ids),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=ids[PAD],
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
    )
    return LlamaForCausalLM(config)


def collate_rows(rows: Sequence[Sequence[Part]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as (ids, learned), both (B, T) and padded on the right; each row begins with ``<bos>``."""
    ids = vocabulary()
    encoded = [
        [(ids[BOS], False)] + [(ids[word], part.learned) for part in row for word in part.text.split()] for row in rows
    ]
    length = max(map(len, encoded))
    tokens = torch.full((len(rows), length), ids[PAD])
    learned = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(encoded):
        tokens[index, : len(row)] = torch.tensor([token for token, _ in row])
        learned[index, : len(row)] = torch.tensor([flag for _, flag in row])
    return tokens, learned


def fit(model: Any, draw_row: Callable[[], Sequence[Part]], recipe: Recipe, log_every: int = 50) -> float:
    """Trains in place on rows drawn for every step; the mean loss of the last ``log_every`` steps."""

    def loss() -> torch.Tensor:
        tokens, learned = collate_rows([draw_row() for _ in range(recipe.rows_per_step)])
        # The padding is on the right of a causal model, so no attention mask is needed.
        hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
        chosen = learned[:, 1:]
        return functional.cross_entropy(model.lm_head(hidden[chosen]), tokens[:, 1:][chosen])

    return minimize(loss, model, recipe, log_every)


def minimize(loss: Callable[[], torch.Tensor], model: nn.Module, recipe: Recipe, log_every: int) -> float:
    """Takes the recipe's steps down a loss, computed at every step; the mean loss of the last ``log_every``."""
    recent: list[float] = []

    def noted(_: None) -> torch.Tensor:
        found = loss()
        recent.append(found.item())
        return found

    optimizer = torch.optim.AdamW(model.parameters(), recipe.lr, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
    with alone(ENGINE) as engine:
        engine.begin(model, optimizer)
        for step in range(recipe.steps):
            engine.accumulate((None,), noted)
            engine.step(partial(recipe.lr_at, step))
            if (step + 1) % log_every == 0:
                _log.info("step %d of %d: loss %.4f", step + 1, recipe.steps, fmean(recent[-log_every:]))
    model.eval()
    return fmean(recent[-log_every:])
