"""Problems that reasoning-gym generates: ``gym:GENERATOR``, with settings as ``gym:chain_sum?min_terms=2&max_terms=4``.

To train on, a generator goes on without an end (``GymStream``), unless ``?size=N`` or ``data.limit`` says how many
problems there are; held-out problems are always so many, drawn by another seed. Question and scorer are the generator's
own; not every one is offered (``tasks.gym``). A problem follows from the run's seed and its number, so that a run that
resumes has the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import yaml

from tracelift_ray.config.errors import first_line
from tracelift_ray.config.paths import GYM
from tracelift_ray.data.loading import FaultLog, LoadReport
from tracelift_ray.errors import DataError
from tracelift_ray.records import RecordError
from tracelift_ray.tasks.gym import gym_problem, obstacle
from tracelift_ray.types import Problem

#: Problems drawn where nothing says how many.
GYM_COUNT = {"train": 2_000, "heldout": 200}
#: The library's problem i of seed s is mostly problem 0 of seed s + i: seeds that share none lie this far apart.
_APART = 1_000_000
#: Problems of an endless source that the library is asked for at a time, those that the load report looks at, and how
#: many in a row may be of no use.
_BLOCK, _LOOKED_AT, MOST_REFUSED = 500, 8, 1_000
#: What comes of a problem that the generator has not, or whose record does not survive being written down.
_NO_PROBLEM = (
    *(RecordError, LookupError, TypeError, ValueError, AttributeError),
    *(AssertionError, ArithmeticError, RuntimeError),
)


def is_endless(source: str, limit: int) -> bool:
    """Whether a source to train on has no end."""
    return source.startswith(GYM) and not limit and "size" not in _settings(source)


def gym_problems(source: str, count: int, seed: int, split: str) -> tuple[tuple[Problem, ...], LoadReport]:
    """Problems of one generator.

    Args:
        count: how many to draw at most; 0: as many as the source says, or ``GYM_COUNT``. Those whose own answer does
            not pass are left out, and counted.

    Raises:
        DataError: reasoning-gym is not installed, has no such generator or refuses its settings, or the generator is
            not offered.
    """
    size = _settings(source).get("size", count or GYM_COUNT[split])
    if not isinstance(size, int) or size < 1:
        raise DataError(f"{source}: size is {size}: it must be a whole number above 0")
    size = min(size, count or size)
    generator = _generator(source, size, _first_seed(seed, split))
    problems: dict[str, Problem] = {}
    log = FaultLog(source)
    for number in range(size):
        log.records += 1
        try:
            problem = _problem(source, generator, number)
            problems[problem.id] = problem
        except RecordError as error:
            log.add(log.records, error)
    if not problems:
        raise DataError(f"{source}: none of its problems can be kept; its scorer refuses its own answers")
    return tuple(problems.values()), log.report("reasoning-gym", len(problems))


@dataclass(frozen=True)
class GymStream:
    """The problems of a generator, numbered from 0 without an end.

    Attributes:
        seed: the run's.
        usable: what a problem must fulfil to be drawn, beside that its own answer passes.
    """

    source: str
    seed: int
    usable: tuple[Callable[[Problem], bool], ...] = ()
    _block: dict[int, Any] = field(default_factory=dict, compare=False, repr=False)

    def where(self, usable: Callable[[Problem], bool]) -> GymStream:
        """The stream without problems that are not ``usable``."""
        return replace(self, usable=(*self.usable, usable))

    def take(self, number: int) -> tuple[Problem, int]:
        """The first problem of use from ``number`` on, and the number behind its own.

        Raises:
            DataError: reasoning-gym, the generator or its settings are at fault, or no problem is of use.
        """
        for each in range(number, number + MOST_REFUSED):
            try:
                problem = self._at(each)
            except RecordError:
                continue
            if all(usable(problem) for usable in self.usable):
                return problem, each + 1
        raise DataError(
            f"{self.source}: none of the {MOST_REFUSED:,} problems from number {number:,} on can be used, because they "
            "are held out, their prompts are too long, or its scorer refuses its own answers: change its settings"
        )

    def problem(self, id: str) -> Problem:
        """The problem that was drawn with this id."""
        return self._at(int(id.rpartition("#")[2]))

    @cached_property
    def first(self) -> Problem:
        """The first problem of use."""
        return self.take(0)[0]

    def report(self) -> LoadReport:
        """What the first problems are like."""
        log = FaultLog(self.source)
        for number in range(_LOOKED_AT):
            log.records += 1
            try:
                self._at(number)
            except RecordError as error:
                log.add(log.records, error)
        return log.report("reasoning-gym, without an end, the first looked at", log.records - log.total)

    def _at(self, number: int) -> Problem:
        block, place = divmod(number, _BLOCK)
        generator = self._block.get(block)  # Another thread may ask for another block meanwhile.
        if generator is None:
            seed = _first_seed(self.seed, "train") + block * _BLOCK
            generator = _generator(self.source, _BLOCK, seed)
            self._block.clear()
            self._block[block] = generator
        return replace(_problem(self.source, generator, place), id=f"{self.source}#{number}")


def _problem(source: str, generator: Any, place: int) -> Problem:
    """One of a generator's problems. Raises RecordError for one that is of no use."""
    try:
        record = generator[place]
        problem = gym_problem({**record, "metadata": {**record["metadata"], "source_dataset": _name(source)}})
        entry = json.loads(problem.entry)
        accepted = generator.score_answer(entry["answer"], entry) >= 1
    except _NO_PROBLEM:
        accepted = False
    if not accepted:
        raise RecordError("no_reference", "answer", "its own scorer does not accept it")
    return problem


def _first_seed(seed: int, split: str) -> int:
    return (2 * seed + (split == "heldout")) * _APART


def _name(source: str) -> str:
    return source.removeprefix(GYM).partition("?")[0]


def _settings(source: str) -> dict[str, Any]:
    given = parse_qsl(source.partition("?")[2], keep_blank_values=True)
    return {key: yaml.safe_load(value) for key, value in given}


def _generator(source: str, size: int, seed: int) -> Any:
    name = _name(source)
    try:
        reason = obstacle(name)
    except DataError as error:
        reason = str(error)
    if reason:
        raise DataError(f"{source}: {reason}")
    import reasoning_gym

    given = {key: value for key, value in _settings(source).items() if key != "size"}
    try:  # seeds below 2**31, since numpy, which some generators use, takes none above 2**32
        return reasoning_gym.create_dataset(name, size=size, seed=seed % 2**31, **given)
    except (TypeError, AssertionError, ValueError) as error:
        raise DataError(f"{source}: reasoning-gym refuses these settings: {first_line(error)}") from None
