"""Turns the data configuration into train and held-out problems.

Promises: ids are unique over all files, held-out problems are in no way among the train problems, and what is
left out is counted in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from tracelift_ray.config.paths import DEMO, GYM
from tracelift_ray.config.schema import DataConfig
from tracelift_ray.data.gym import GymStream, gym_problems, is_endless
from tracelift_ray.data.loading import LoadReport
from tracelift_ray.data.mixture import Mixture
from tracelift_ray.data.problems import load_problems, text_key
from tracelift_ray.data.split import Leakage, interleaved, split_heldout, without_leaks
from tracelift_ray.errors import DataError
from tracelift_ray.types import Problem

Split = Literal["train", "heldout"]
#: Draws problems of a demo world: task, how many, seed, split. Raises DataError for a task that it does not have.
DemoProblems = Callable[[str, int, int, Split], tuple[Problem, ...]]
#: Problems drawn from the demo world for each task where no limit is set.
DEMO_COUNTS: dict[Split, int] = {"train": 4_000, "heldout": 400}


@dataclass(frozen=True)
class SourceReport:
    """What became of the data: one report a source, problems that a second file repeated, and leakage removed."""

    files: tuple[LoadReport, ...]
    repeated: int
    leakage: Leakage
    train: int
    heldout: int
    shares: tuple[tuple[str, float], ...] = ()
    endless: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """For people, one line a source and one for the whole."""
        whole = f"{self.train:,} train and {self.heldout:,} held-out problems"
        if self.endless:
            whole += f"; without an end, to train on: {', '.join(self.endless)}"
        if self.repeated:
            whole += f"; {self.repeated:,} repeated in another file left out"
        if self.leakage.by_id or self.leakage.by_text:
            whole += (
                f"; left out of train because they are held out: {self.leakage.by_id:,} by id, "
                f"{self.leakage.by_text:,} by text"
            )
        if self.shares:
            whole += "; an epoch is " + ", ".join(f"{share:.0%} of {source}" for source, share in self.shares)
        return (*(report.summary() for report in self.files), whole)


class Sources(NamedTuple):
    """Train and held-out problems, tasks interleaved, the report, and how the sources of train are mixed, with those
    that have no end."""

    train: tuple[Problem, ...]
    heldout: tuple[Problem, ...]
    report: SourceReport
    mixture: Mixture | None


def resolve_sources(config: DataConfig, seed: int, demo: DemoProblems) -> Sources:
    """Load all that the configuration names.

    Args:
        demo: draws the problems of ``demo:TASK``, such as ``tracelift_ray.demo.source.demo_problems``.
        seed: draws the problems of the demo world and of generators; files do not depend on it.

    Raises:
        DataError: a file is unusable, two files give one id to different problems, or no train problem is left.
    """
    if not config.train:
        raise DataError("data.train names no source: give files, demo:math or demo:code")
    endless = {each: GymStream(each, seed) for each in config.train if is_endless(each, config.limit)}
    finite = [source for source in config.train if source not in endless]
    found, train_reports, train_repeated = _load_all(finite, config, seed, "train", demo)
    train = tuple(problem for problem, _ in found.values())
    held, heldout_reports, heldout_repeated = _load_all(config.heldout or tuple(endless), config, seed, "heldout", demo)
    heldout = tuple(problem for problem, _ in held.values())
    if not config.heldout:
        train, part = split_heldout(train, config.heldout_fraction)
        heldout = (*part, *heldout)
    train, leakage = without_leaks(train, heldout)
    if not train and not endless:
        raise DataError(
            f"no train problem is left: {leakage.by_id} of data.train are held out by id and {leakage.by_text} by text"
        )
    mixture = _mixture(config, {id: source for id, (_, source) in found.items()}, endless)
    texts = {text_key(problem.statement) for problem in heldout}
    report = SourceReport(
        (*train_reports, *(stream.report() for stream in endless.values()), *heldout_reports),
        train_repeated + heldout_repeated,
        leakage,
        len(train),
        len(heldout),
        tuple(zip(config.train, mixture.shares(), strict=True)) if mixture and config.weights else (),
        tuple(endless),
    )
    mixture = mixture and mixture.where(lambda problem: text_key(problem.statement) not in texts)
    return Sources(interleaved(train), interleaved(heldout), report, mixture)


def _mixture(config: DataConfig, origins: Mapping[str, str], endless: Mapping[str, GymStream]) -> Mixture | None:
    """What ``data.weights`` says of the problems whose sources these are, and of the sources without an end."""
    if not config.weights and not endless:
        return None
    places = {source: place for place, source in enumerate(config.train)}
    streams = {places[source]: stream for source, stream in endless.items()}
    return Mixture(config.weights, {id: places[source] for id, source in origins.items()}, streams)


def first_problem(config: DataConfig, seed: int, demo: DemoProblems) -> Problem:
    """The first problem of the first train source, without reading the rest. Raises DataError."""
    if is_endless(config.train[0], config.limit):
        return GymStream(config.train[0], seed).first
    problems, _ = _load(config.train[0], replace(config, limit=1), seed, "train", demo)
    return problems[0]


def _load_all(
    sources: Sequence[str], config: DataConfig, seed: int, split: Split, demo: DemoProblems
) -> tuple[dict[str, tuple[Problem, str]], tuple[LoadReport, ...], int]:
    """The problems of all sources of one split with their source, by id, their reports, and how many were repeated."""
    found: dict[str, tuple[Problem, str]] = {}
    reports = []
    repeated = 0
    for source in sources:
        problems, report = _load(source, config, seed, split, demo)
        reports.append(report)
        for problem in problems:
            earlier, where = found.setdefault(problem.id, (problem, source))
            if earlier is problem:
                continue
            if text_key(earlier.statement) != text_key(problem.statement):
                raise DataError(f"{source} and {where} give the id {problem.id!r} to different problems: rename one")
            repeated += 1
    return found, tuple(reports), repeated


def _load(
    source: str, config: DataConfig, seed: int, split: Split, demo: DemoProblems
) -> tuple[tuple[Problem, ...], LoadReport]:
    if source.startswith(DEMO):
        problems = demo(source.removeprefix(DEMO), config.limit or DEMO_COUNTS[split], seed, split)
        return problems, LoadReport(source, "demo", len(problems), len(problems))
    if source.startswith(GYM):
        return gym_problems(source, config.limit, seed, split)
    loaded = load_problems(
        source,
        config.format,
        fields=config.fields,
        on_error=config.on_error,
        max_problem_chars=config.max_problem_chars,
        max_tests=config.max_tests,
        limit=config.limit,
    )
    return loaded.records, loaded.report
