"""Keys and values of many rows of unequal length, left-padded into shared columns, for step-by-step decoding.

Rows can be joined by others, dropped, and grown without copying everything at each token, which is what
``transformers``' own dynamic cache does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers.cache_utils import Cache, DynamicLayer


class ReservedLayer(DynamicLayer):
    """One layer's keys and values, (rows, heads, columns, width), with room for ``capacity`` columns."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.used = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = self._room(key_states)
        self.values = self._room(value_states)
        self.is_initialized = True

    def _room(self, like: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = like.shape
        return like.new_zeros(rows, heads, self.capacity, width)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        end = self.used + key_states.shape[-2]
        self.keys[:, :, self.used : end] = key_states
        self.values[:, :, self.used : end] = value_states
        self.used = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.used


class RowCache:
    """The caches of all layers, and which columns of each row hold tokens.

    Attributes:
        cache: what the model is called with.
        mask: bool (rows, capacity); True where a column holds a token of the row.
    """

    def __init__(self, layers: list[ReservedLayer], mask: torch.Tensor) -> None:
        self.cache = Cache(layers=[*layers])
        self.layers = layers
        self.mask = mask

    @classmethod
    def empty(cls, num_layers: int, mask: torch.Tensor, capacity: int) -> RowCache:
        """Room for the rows of ``mask`` (rows, columns), left-padded, which are yet to be run through the model."""
        room = mask.new_zeros(mask.shape[0], capacity)
        room[:, : mask.shape[1]] = mask
        return cls([ReservedLayer(capacity) for _ in range(num_layers)], room)

    @property
    def used(self) -> int:
        return self.layers[0].used

    @property
    def capacity(self) -> int:
        return self.layers[0].capacity

    def lengths(self) -> torch.Tensor:
        """Tokens held, by row."""
        return self.mask.sum(dim=1)

    def append_column(self) -> None:
        """Make the next column one that every row fills."""
        self.mask[:, self.used] = True

    @staticmethod
    def gathered(parts: Sequence[tuple[RowCache, torch.Tensor]], more: int) -> RowCache:
        """A new cache of chosen rows of others, right-aligned, columns that none of them needs left out.

        Args:
            parts: caches, and the rows (int64) to take from each, in order; a row may be taken more than once.
            more: columns to leave free.
        """
        columns = max(int(cache.lengths().index_select(0, rows).max()) for cache, rows in parts)
        total = sum(len(rows) for _, rows in parts)
        capacity = columns + more
        mask = parts[0][0].mask.new_zeros(total, capacity)
        layers = []
        for index in range(len(parts[0][0].layers)):
            layer = ReservedLayer(capacity)
            first = parts[0][0].layers[index]
            assert first.keys is not None and first.values is not None
            heads, width = first.keys.shape[1], first.keys.shape[3]
            layer.dtype, layer.device = first.keys.dtype, first.keys.device
            layer.keys = first.keys.new_empty(total, heads, capacity, width)
            layer.values = first.values.new_empty(total, heads, capacity, first.values.shape[3])
            layer.is_initialized, layer.used = True, columns
            layers.append(layer)
        start = 0
        for cache, rows in parts:
            end, take = start + len(rows), min(columns, cache.used)
            source, target = slice(cache.used - take, cache.used), slice(columns - take, columns)
            mask[start:end, target] = cache.mask[:, source].index_select(0, rows)
            for old, new in zip(cache.layers, layers, strict=True):
                assert old.keys is not None and old.values is not None
                assert new.keys is not None and new.values is not None
                # Columns that are masked must hold numbers too: zero times NaN is NaN.
                new.keys[start:end, :, : target.start] = 0
                new.values[start:end, :, : target.start] = 0
                new.keys[start:end, :, target] = old.keys[:, :, source].index_select(0, rows)
                new.values[start:end, :, target] = old.values[:, :, source].index_select(0, rows)
            start = end
        return RowCache(layers, mask)
