"""Masks of one new token for every row of a batch, as the layers of a model want them: full or windowed, by kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FULL, WINDOWED = "full_attention", "sliding_attention"


class StepMasks:
    """Makes the attention mask of a step in which every row writes into the last of its columns.

    Raises:
        ValueError: the model has layers of another kind.
    """

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        self._window: int | None = getattr(config, "sliding_window", None)
        kinds = getattr(config, "layer_types", None)
        self._kinds = set(kinds or [WINDOWED if self._window and kinds is None else FULL])
        unknown = sorted(self._kinds - {FULL, WINDOWED})
        if unknown:
            raise ValueError(f"this engine has no {unknown[0]}, which layers of this model have; use another engine")
        self._additive = config._attn_implementation == "eager"
        self._dtype = model.dtype

    def of(self, held: Tensor) -> Tensor | dict[str, Tensor]:
        """The mask for columns [rows, columns] that hold a token; by kind of layer where a model has several."""
        masks = {kind: self._mask(held, kind) for kind in self._kinds}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _mask(self, held: Tensor, kind: str) -> Tensor:
        if kind == WINDOWED and self._window is not None and held.shape[1] > self._window:
            held = held.clone()
            held[:, : held.shape[1] - self._window] = False
        mask = held[:, None, None, :]
        if not self._additive:
            return mask
        least = torch.finfo(self._dtype).min
        return torch.zeros(mask.shape, dtype=self._dtype, device=mask.device).masked_fill(~mask, least)
