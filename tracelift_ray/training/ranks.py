"""The ranks of one trainer: where each stands, and running a function on all ranks of one machine.

Promises of ``run_ranks``: an error of one rank ends the others and is raised here in its type where it is one that
users can mend; no rank outlives the call.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.errors import DataError, InfrastructureError

_ADDRESS = "127.0.0.1"
#: The first and last port that the kernel gives to outgoing connections.
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ABOVE_RAYS_WORKERS, _PORT_TRIES = 20_000, 100
RankFunction = Callable[..., None]


@dataclass(frozen=True)
class RankPlace:
    """Where one learner process stands: its rank of ``world_size``, and the address where rank 0 listens.

    ``local_rank`` is the CUDA device index inside this process; 0 where each process sees one GPU only.
    """

    rank: int
    world_size: int
    master_address: str
    master_port: int
    local_rank: int = 0


def free_port() -> int:
    """A TCP port that was free on this machine a moment ago; ask on the machine of rank 0.

    Where the kernel leaves room, the port is below those that it gives to outgoing connections: one of these could
    take it before its user listens.
    """
    lowest = 0
    with contextlib.suppress(OSError):  # not Linux
        lowest = int(_OUTGOING_PORTS.read_text().split()[0])
    room = range(_ABOVE_RAYS_WORKERS, lowest)
    for port in random.SystemRandom().sample(room, _PORT_TRIES) if len(room) > _PORT_TRIES else ():
        with contextlib.suppress(OSError):
            return _bound(port)
    return _bound(0)


def _bound(port: int) -> int:
    """The port that this process could listen on; 0: one that the kernel chooses."""
    with socket.socket() as listener:
        listener.bind(("", port))
        return listener.getsockname()[1]


def run_ranks(workers: int, function: RankFunction, *arguments: Any) -> None:
    """Call ``function(place, *arguments)`` on ``workers`` ranks; with more than one, both must pickle.

    Raises:
        ConfigError, DataError, InfrastructureError: as raised by a rank.
        InfrastructureError: a rank died.
    """
    port = free_port()
    if workers == 1:
        function(RankPlace(0, 1, _ADDRESS, port), *arguments)
        return
    from torch.multiprocessing import ProcessExitedException, get_context, start_processes

    errors = get_context("spawn").SimpleQueue()
    try:
        start_processes(
            _rank,
            (function, workers, port, errors, arguments),
            nprocs=workers,
            daemon=True,  # an interrupt ends them; else this process would wait at its end until they are done
            start_method="spawn",
        )
    except ProcessExitedException as error:
        if not errors.empty():
            raise errors.get() from None
        raise InfrastructureError("ranks", f"rank {error.error_index} of {workers} died: {error}") from error


def _rank(rank: int, function: RankFunction, workers: int, port: int, errors: Any, arguments: tuple[Any, ...]) -> None:
    """One process."""
    try:
        function(RankPlace(rank, workers, _ADDRESS, port, rank), *arguments)
    except (ConfigError, DataError, InfrastructureError) as error:
        errors.put(error)
        raise SystemExit(1) from error
