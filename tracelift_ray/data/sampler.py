"""An endless, resumable stream of problems: each epoch is one permutation, drawn by hashing seed, epoch and id, of all
problems or of a mixture.

The order depends on nothing else: not on the order of files or rows, nor on the library versions that a random
generator would bring in. So a saved position means the same problem on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import xxhash

from tracelift_ray.data.mixture import Mixture
from tracelift_ray.errors import DataError
from tracelift_ray.types import Problem


class SampledProblem(NamedTuple):
    """A problem and the epoch (from 0) that it was drawn in."""

    epoch: int
    problem: Problem


class ProblemSampler:
    """Draws each problem once an epoch, tasks mixed as the problems are.

    Args:
        problems: the data set; ids must be unique.
        seed: the run's seed.
        mixture: says how much of an epoch comes from which source; None: every problem is in every epoch.

    Raises:
        DataError: there are no problems, or two have one id.
    """

    def __init__(self, problems: Sequence[Problem], seed: int, mixture: Mixture | None = None) -> None:
        self._problems = {problem.id: problem for problem in problems}
        if not problems:
            raise DataError("there are no problems to sample from")
        if len(self._problems) != len(problems):
            raise DataError(
                f"{len(problems) - len(self._problems)} problems have the id of another: ids must be unique"
            )
        self._seed = seed
        self._mixture = mixture
        self._fingerprint = xxhash.xxh3_128_hexdigest("\n".join(sorted(self._problems)).encode())
        self._epoch = 0
        self._position = 0
        self._order = self._permutation(0)

    def __len__(self) -> int:
        """Problems in an epoch."""
        return len(self._order)

    def next(self) -> SampledProblem:
        """The next problem of the stream."""
        if self._position == len(self._order):
            self._epoch += 1
            self._position = 0
            self._order = self._permutation(self._epoch)
        problem = self._problems[self._order[self._position]]
        self._position += 1
        return SampledProblem(self._epoch, problem)

    def state(self) -> dict[str, Any]:
        """The position in the stream, as plain JSON values."""
        return {
            "fingerprint": self._fingerprint,
            "problems": len(self._order),
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where ``state`` was taken.

        Raises:
            DataError: the state belongs to other problems or another seed, or is not a sampler's.
        """
        position, epoch = state.get("position"), state.get("epoch")
        if not isinstance(epoch, int) or not isinstance(position, int) or epoch < 0 or position < 0:
            raise DataError(f"not the state of a problem sampler: {dict(state)}")
        if state.get("fingerprint") != self._fingerprint:
            raise DataError(
                f"the checkpoint was sampling {state.get('problems')} problems, these are {len(self._order)} "
                "with other ids: resume with the same data settings, or start again with resume=never"
            )
        if state.get("seed") != self._seed:
            raise DataError(
                f"the checkpoint was sampling with seed {state.get('seed')}, this run has {self._seed}: "
                "resume with the same seed, or start again with resume=never"
            )
        if position > len(self._order):
            raise DataError(f"position {position} lies beyond the {len(self._order)} problems of an epoch")
        self._epoch = epoch
        self._position = position
        self._order = self._permutation(epoch)

    def _permutation(self, epoch: int) -> list[str]:
        """The ids of an epoch in the order of their hashes."""
        ids = list(self._problems)
        return self._shuffled(epoch, ids if self._mixture is None else self._mixture.epoch(epoch, ids, self._shuffled))

    def _shuffled(self, number: int, ids: Sequence[str]) -> list[str]:
        """Ids in the order of their hashes, ties broken by the ids themselves."""
        return sorted(ids, key=lambda id: (xxhash.xxh3_128_digest(f"{self._seed}/{number}/{id}".encode()), id))
