"""The demo world as a data source: problems for ``demo:math`` and ``demo:code``, trace validity, TraceLift-Groups.

Everything is drawn from a seed, so the same arguments give the same problems in the same order, and an id names one
statement for ever. Train and held-out problems never share a statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from random import Random

from tracelift_ray.config.paths import DEMO
from tracelift_ray.config.schema import DataConfig
from tracelift_ray.data.rubric_records import RubricRecord, RubricTrace
from tracelift_ray.demo.flaws import KINDS, perturb
from tracelift_ray.demo.rubric import rubric_labels, rubric_total
from tracelift_ray.demo.traces import LARGEST_WRITTEN, artifact_of, clean_lines, is_valid, render
from tracelift_ray.demo.world import DEMO_TASKS, TASK_WORLDS, Split, WordProblem, draw_problem, read_statement, split_of
from tracelift_ray.errors import DataError
from tracelift_ray.types import CodeTests, Problem

NUM_TESTS = 3
#: Candidate test inputs in order of preference; zero and one say least about a program.
TEST_INPUTS = (2, 5, 11, 3, 7, 4, 6, 8, 9, 10, 12, 1, 0)


def demo_problems(task: str, count: int, seed: int, split: Split) -> tuple[Problem, ...]:
    """``count`` distinct problems of a split, drawn with a seed.

    A shorter draw with the same seed is a prefix of a longer one. ``solution`` is the valid trace of a math problem
    and the program of a code problem.

    Raises:
        DataError: the world has no problems of this task.
    """
    if task not in DEMO_TASKS:
        known = " and ".join(f"demo:{name}" for name in DEMO_TASKS)
        raise DataError(f"'demo:{task}' is no source: the demo world has {known}")
    rng = Random(f"{task}/{split}/{seed}")
    problems: dict[str, Problem] = {}
    while len(problems) < count:
        problem = as_problem(draw_problem(rng, task, split))
        problems.setdefault(problem.id, problem)
    return tuple(problems.values())


def as_problem(problem: WordProblem) -> Problem:
    """A problem of the world in the project's own form."""
    digest = hashlib.blake2b(problem.statement.encode(), digest_size=6).hexdigest()
    lines = clean_lines(problem)
    own = TASK_WORLDS[problem.task]
    return Problem(
        id=f"demo-{problem.task}-{digest}",
        task=problem.task,
        statement=problem.statement,
        task_type=own.task_type,
        answer=str(problem.result) if own.answers else None,
        tests=None if own.answers else _tests(problem),
        solution=render(problem.task, lines) if own.answers else artifact_of(problem.task, lines),
    )


def _tests(problem: WordProblem) -> CodeTests:
    """Three stdio tests, with outputs that have a token where the problem allows."""
    written = [value for value in TEST_INPUTS if 0 <= problem.run(value) <= LARGEST_WRITTEN]
    inputs = [*written, *(value for value in TEST_INPUTS if value not in written)][:NUM_TESTS]
    return CodeTests(
        kind="stdio",
        inputs=tuple(str(value) for value in inputs),
        outputs=tuple(str(problem.run(value)) for value in inputs),
    )


def trace_is_valid(problem: Problem, reasoning: str) -> bool:
    """Whether a trace is right in every written step: the demo's metric *trace validity*.

    Args:
        problem: a problem of this world; only its task and statement are used.
        reasoning: the text inside the reasoning tag.

    Raises:
        ValueError: the problem is not of this world.
    """
    return is_valid(read_statement(problem.task, problem.statement), reasoning)


def is_of_world(problem: Problem) -> bool:
    """Whether the demo world can read a problem's statement."""
    try:
        read_statement(problem.task, problem.statement)
    except (ValueError, KeyError):
        return False
    return True


def flawed_traces(problem: WordProblem, rng: Random, most: int) -> list[tuple[str, str]]:
    """Up to ``most`` distinct flawed traces of a problem, each with its kind; kinds come in random order, twice."""
    kinds = list(KINDS) * 2
    rng.shuffle(kinds)
    flawed: dict[str, str] = {}
    for kind in kinds:
        if len(flawed) >= most:
            break
        lines = perturb(problem, kind, rng)
        text = None if lines is None else render(problem.task, lines)
        if text is not None and not is_valid(problem, text):
            flawed.setdefault(text, kind)
    return list(flawed.items())


def demo_groups(task: str, count: int, seed: int, split: Split, negatives: int = 7) -> Iterator[RubricRecord]:
    """TraceLift-Groups of the world, one record a problem, for ``data.rubric_records.write_rubric_records``.

    Each has the valid trace as its positive and up to ``negatives`` flawed ones, all with rubrics by rule.
    """
    rng = Random(f"groups/{task}/{split}/{seed}")
    for problem in demo_problems(task, count, seed, split):
        world = read_statement(task, problem.statement)
        yield group_of(world, flawed_traces(world, rng, negatives))


def group_of(world: WordProblem, flawed: Iterable[tuple[str, str]]) -> RubricRecord:
    """The group of a problem's valid trace and the given flawed traces, each a text and its kind."""
    return RubricRecord(
        problem=as_problem(world),
        positives=(_labelled(world, render(world.task, clean_lines(world)), None),),
        negatives=tuple(_labelled(world, text, kind) for text, kind in flawed),
        source="tracelift-ray demo world",
        metadata={"split": split_of(world.statement)},
    )


def _labelled(world: WordProblem, reasoning: str, kind: str | None) -> RubricTrace:
    labels = rubric_labels(world, reasoning)
    return RubricTrace(reasoning, labels, rubric_total(labels), kind)


def trace_checks(data: DataConfig) -> dict[str, Callable[[Problem, str], bool]]:
    """What can be checked of a trace beyond the executor's success: ``trace_validity`` where every problem is of this
    world, else nothing."""
    sources = (*data.train, *data.heldout)
    return {"trace_validity": trace_is_valid} if all(source.startswith(DEMO) for source in sources) else {}
