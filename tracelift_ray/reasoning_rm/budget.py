"""Cuts sequences of different lengths into batches of a bounded padded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def budget_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yields positions, longest first, in batches whose padded size (count x longest) is at most ``max_tokens``.

    A sequence longer than the budget makes a batch of its own. Every position comes exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    while order:
        count = max(1, max_tokens // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]
