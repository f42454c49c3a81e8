"""Problems that reasoning-gym generates: ``gym:GENERATOR``, with settings as ``gym:chain_sum?min_terms=2&max_terms=4``.

Question and scorer are the generator's own. Problems are drawn by the run's seed, so that a run that resumes has the
same ones; held-out problems are drawn by another. A generator whose scorer evaluates an answer as an expression is not
offered: an answer is untrusted text, and Python evaluated outside the sandbox is untrusted code.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any
from urllib.parse import parse_qsl

import yaml

from tracelift_ray.config.errors import first_line
from tracelift_ray.config.paths import GYM
from tracelift_ray.data.loading import FaultLog, LoadReport
from tracelift_ray.errors import DataError
from tracelift_ray.records import RecordError
from tracelift_ray.tasks.gym import gym_problem
from tracelift_ray.types import Problem

#: Problems drawn where no limit is set.
GYM_COUNT = {"train": 2_000, "heldout": 200}
INSTALL = "pip install reasoning-gym==0.1.25"
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify|parse_latex)\s*\(")


def gym_problems(source: str, count: int, seed: int, split: str) -> tuple[tuple[Problem, ...], LoadReport]:
    """Problems of one generator.

    Args:
        count: how many to draw; 0: ``GYM_COUNT``. Those whose own answer does not pass are left out, and counted.

    Raises:
        DataError: reasoning-gym is not installed, has no such generator or refuses its settings, or the generator is
            not offered.
    """
    name, generator = _generator(source, count or GYM_COUNT[split], 2 * seed + (split == "heldout"))
    problems: dict[str, Problem] = {}
    log = FaultLog(source)
    for log.records, record in enumerate(generator, start=1):
        try:
            problem = gym_problem({**record, "metadata": {**record["metadata"], "source_dataset": name}})
            entry = json.loads(problem.entry)
            accepted = generator.score_answer(entry["answer"], entry) >= 1
        except (RecordError, LookupError, TypeError, ValueError, AttributeError):
            accepted = False  # its record does not survive being written down
        if accepted:
            problems[problem.id] = problem
        else:
            log.add(log.records, RecordError("no_reference", "answer", "its own scorer does not accept it"))
    if not problems:
        raise DataError(f"{source}: none of its problems can be kept; its scorer refuses its own answers")
    return tuple(problems.values()), log.report("reasoning-gym", len(problems))


def _generator(source: str, size: int, seed: int) -> tuple[str, Any]:
    name, _, settings = source.removeprefix(GYM).partition("?")
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise DataError(f"{source}: reasoning-gym is not installed; {INSTALL}") from None
    if name not in DATASETS:
        raise DataError(f"{source}: reasoning-gym has no generator {name}; it has {', '.join(sorted(DATASETS))}")
    if _EVALUATES.search(inspect.getsource(inspect.getmodule(DATASETS[name][0]) or DATASETS[name][0])):
        raise DataError(f"{source}: its scorer evaluates answers as code, which is not done outside the sandbox")
    given = {key: yaml.safe_load(value) for key, value in parse_qsl(settings, keep_blank_values=True)}
    try:
        return name, reasoning_gym.create_dataset(name, size=size, seed=seed, **given)
    except (TypeError, AssertionError, ValueError) as error:
        raise DataError(f"{source}: reasoning-gym refuses these settings: {first_line(error)}") from None
