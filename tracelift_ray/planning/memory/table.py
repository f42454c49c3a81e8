"""The memory plan as a table for people, in GiB."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from tracelift_ray.planning.memory.holdings import MemoryPlan, gib
from tracelift_ray.planning.memory.parts import ON_DEVICE

_COLUMNS = {"gradients": "grads", "optimizer": "optim", "activations": "activ", "buffers": "bufs", "runtime": "proc"}


def memory_table(plan: MemoryPlan) -> Table:
    """A row for each pool: what each of its workers holds, on each of its GPUs or in its node's memory."""
    table = Table()
    table.add_column("GiB of one", no_wrap=True)
    for name in (*(_COLUMNS.get(part, part) for part in ON_DEVICE), "total", "of"):
        table.add_column(name, justify="right", no_wrap=True)
    for held in plan.held:
        parts = (getattr(held.parts, name) for name in ON_DEVICE)
        cells = (gib(part) if part else "" for part in parts)
        size = "node" if not held.gpus else "GPU" if held.gpu is None else gib(held.gpu)
        table.add_row(held.pool, *cells, gib(held.total), size)
    return table


def memory_lines(plan: MemoryPlan) -> Iterator[str]:
    """What the table has no room for: sequences that caches admit, memory of nodes, what is not known."""
    for held in plan.held:
        if held.rank is not None:
            passing, tokens = held.rank.passing, held.rank.batch.tokens
            yield (
                f"{held.pool}: most at {held.rank.worst}; a micro-batch of {tokens} tokens takes "
                f"{gib(passing.activations)} GiB of activations and {gib(passing.logits)} of logits"
            )
        if held.admits is not None and held.admits >= 1:
            token = held.parts.cache / held.admits / held.context / 1024
            full = f"{int(held.admits)} sequences of {held.context} tokens"
            yield f"{held.pool}: a cache of {gib(held.parts.cache)} GiB, {token:.0f} KiB a token: {full}"
    hosts = [f"{held.pool} {gib(held.parts.host)}" for held in plan.held if held.parts.host]
    if hosts:
        yield f"in the node's memory, GiB of one: {', '.join(hosts)}"
    for line in plan.unknown:
        yield f"not planned: {line}"
