"""Sampling seeds, derived by hashing.

Those of requests are equal in every process and order of requests. Those of engines serve requests without a seed, and
differ from engine to engine and from start to start, so that no two engines write the same samples.
"""

from __future__ import annotations

import hashlib

#: Sample i of a request draws with seed + i, so seeds keep this distance from one another.
SEED_SPACING = 32


def request_seed(run_seed: int, *parts: int | str) -> int:
    """The seed of one request.

    Args:
        run_seed: the seed of the run.
        parts: what tells this request from the others: its role, problem id, epoch, index. 1 and "1" differ.

    Returns:
        A multiple of ``SEED_SPACING`` in [0, 2**31): two different seeds are never so close that the samples of one
        request (seed, seed + 1, …, for n up to the spacing) are drawn like those of another.
    """
    text = "\x1f".join([str(run_seed), *(f"{type(part).__name__}:{part}" for part in parts)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % ((1 << 31) // SEED_SPACING) * SEED_SPACING


def member_seed(run_seed: int, pool: str, index: int, restart: int) -> int:
    """The seed of one pool member's engine: of worker ``index``, started ``restart`` times before."""
    return request_seed(run_seed, "engine", pool, index, restart)
