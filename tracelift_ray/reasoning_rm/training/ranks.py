"""Runs a function on the ranks of one machine: in this process where there is one rank, else in processes of its own.

Promises: an error of one rank ends the others and is raised here in its own type where it is one that users can mend;
no rank outlives the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.training.ranks import RankPlace, free_port
from tracelift_ray.types import DataError, InfrastructureError

_ADDRESS = "127.0.0.1"
RankFunction = Callable[..., None]


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
        start_processes(_rank, (function, workers, port, errors, arguments), nprocs=workers, start_method="spawn")
    except ProcessExitedException as error:
        if not errors.empty():
            raise errors.get() from None
        raise InfrastructureError("reasoning_rm", f"rank {error.error_index} of {workers} died: {error}") from error


def _rank(rank: int, function: RankFunction, workers: int, port: int, errors: Any, arguments: tuple[Any, ...]) -> None:
    """One process."""
    try:
        function(RankPlace(rank, workers, _ADDRESS, port, rank), *arguments)
    except (ConfigError, DataError, InfrastructureError) as error:
        errors.put(error)
        raise SystemExit(1) from error
