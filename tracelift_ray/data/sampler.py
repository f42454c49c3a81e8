"""An endless, resumable stream of problems: each epoch is one permutation, drawn by hashing seed, epoch and id, of all
problems or of a mixture, without those that the curriculum leaves out.

The order depends on nothing else: not on the order of files or rows, nor on the library versions that a random
generator would bring in. So a saved position means the same problem on any machine. Where a source has no end, the
permutation has places for its problems, and the state says which of them comes next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import xxhash

from tracelift_ray.data.curriculum import Curriculum
from tracelift_ray.data.mixture import Mixture
from tracelift_ray.data.read_ahead import ReadAhead
from tracelift_ray.errors import DataError
from tracelift_ray.types import Baseline, Problem


class SampledProblem(NamedTuple):
    """A problem and the epoch (from 0) that it was drawn in."""

    epoch: int
    problem: Problem


class ProblemSampler:
    """Draws each problem once an epoch, tasks mixed as the problems are.

    Args:
        problems: the data set; ids must be unique.
        seed: the run's seed.
        mixture: says how much of an epoch comes from which source, and which of them have no end; None: every problem
            is in every epoch.
        curriculum: leaves problems of the data set out of epochs; None: none.

    Raises:
        DataError: there are no problems, or two have one id.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        seed: int,
        mixture: Mixture | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        self._problems = {problem.id: problem for problem in problems}
        self._streams = {} if mixture is None else {each.source: each for each in mixture.streams.values()}
        if not problems and not self._streams:
            raise DataError("there are no problems to sample from")
        if len(self._problems) != len(problems):
            raise DataError(
                f"{len(problems) - len(self._problems)} problems have the id of another: ids must be unique"
            )
        self._seed = seed
        self._mixture = mixture
        self._curriculum = curriculum
        generated = (f"{source} {stream.first.entry}" for source, stream in sorted(self._streams.items()))
        known = "\n".join([*sorted(self._problems), *generated])
        self._fingerprint = xxhash.xxh3_128_hexdigest(known.encode())
        self._epoch = 0
        self._position = 0
        self._next = dict.fromkeys(self._streams, 0)
        self._ahead = {source: ReadAhead(stream.take) for source, stream in self._streams.items()}
        self._note = ""
        self._order = self._permutation(0)

    def __len__(self) -> int:
        """Problems in an epoch."""
        return len(self._order)

    def next(self) -> SampledProblem:
        """The next problem of the stream. Raises DataError where a source without an end has none of use."""
        if self._position == len(self._order):
            self._epoch += 1
            self._position = 0
            self._begin()
        place = self._order[self._position]
        problem = self._problems.get(place) or self._generated(place)
        self._position += 1
        return SampledProblem(self._epoch, problem)

    def problem(self, id: str) -> Problem:
        """The problem of this id, which was drawn before."""
        return self._problems.get(id) or self._streams[id.rpartition("#")[0]].problem(id)

    def measured(self, problem: Problem, baseline: Baseline) -> None:
        """A group of a batch that is done had this baseline."""
        if self._curriculum is not None and problem.id in self._problems:
            self._curriculum.measured(problem.id, baseline)

    def metrics(self) -> dict[str, float]:
        """The epoch, the problems that it has, and what it leaves out."""
        found = {"data/epoch": float(self._epoch), "data/problems": float(len(self._order))}
        if self._streams:
            found["data/generated"] = float(sum(self._next.values()))
        return found if self._curriculum is None else found | self._curriculum.metrics()

    def note(self) -> str:
        """What an epoch that has begun since the last call leaves out, for people; else empty."""
        note, self._note = self._note, ""
        return note

    def state(self) -> dict[str, Any]:
        """The position in the stream, as plain JSON values."""
        state = {
            "fingerprint": self._fingerprint,
            "problems": len(self._problems),
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
        }
        if self._streams:
            state["next"] = self._next.copy()
        if self._curriculum is not None:
            state["curriculum"] = self._curriculum.state()
        return state

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
                f"the checkpoint was sampling {state.get('problems')} problems, these are {len(self._problems)} "
                "with other ids: resume with the same data settings, or start again with resume=never"
            )
        if state.get("seed") != self._seed:
            raise DataError(
                f"the checkpoint was sampling with seed {state.get('seed')}, this run has {self._seed}: "
                "resume with the same seed, or start again with resume=never"
            )
        if self._curriculum is not None and "curriculum" in state:
            self._curriculum.restore(state["curriculum"])
        order = self._permutation(epoch)
        if position > len(order):
            raise DataError(f"position {position} lies beyond the {len(order)} problems of an epoch")
        self._epoch, self._position, self._order = epoch, position, order
        self._next |= state.get("next", {})

    def _begin(self) -> None:
        """Decide what the new epoch leaves out."""
        if self._curriculum is not None:
            self._curriculum.begin(self._epoch, list(self._problems))
        self._order = self._permutation(self._epoch)
        if self._curriculum is not None:
            easy, hard, again = map(int, self._curriculum.metrics().values())
            self._note = (
                f"epoch {self._epoch} has {len(self._order):,} problems; left out because the executor solves them "
                f"alone: {easy:,} (too easy), or does not: {hard:,} (too hard); looked at again: {again:,}"
            )

    def _permutation(self, epoch: int) -> list[str]:
        """The ids of an epoch, and the places of problems that are generated, in the order of their hashes."""
        ids = list(self._problems)
        if self._curriculum is not None:
            ids = self._curriculum.left(ids)
        if self._mixture is None:
            return self._shuffled(epoch, ids)
        drawn = self._mixture.epoch(epoch, ids, self._shuffled)
        for source, count in self._mixture.generated(ids).items():
            drawn += [f"{source}#{place}" for place in range(count)]
        return self._shuffled(epoch, drawn)

    def _generated(self, place: str) -> Problem:
        source = place.rpartition("#")[0]
        problem, self._next[source] = self._ahead[source].take(self._next[source])
        return problem

    def _shuffled(self, number: int, ids: Sequence[str]) -> list[str]:
        """Ids in the order of their hashes, ties broken by the ids themselves."""
        return sorted(ids, key=lambda id: (xxhash.xxh3_128_digest(f"{self._seed}/{number}/{id}".encode()), id))
