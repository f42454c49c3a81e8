"""What a task is: everything that differs between math, code and the others, behind one class.

The rest of the library asks a problem's task (``tasks.table.task_of``) and compares no names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import xxhash

from tracelift_ray.records import Record, RecordError, identifier, optional_text, required_text, scalar_text
from tracelift_ray.reward.forms import RewardForm
from tracelift_ray.types import Artifact, CodeTests, Problem, Verdict

#: The five dimensions of a rubric, in the order of the reasoning RM's heads.
Dimensions = tuple[str, str, str, str, str]


class Tools(Protocol):
    """What a task may check an artifact with. All raise InfrastructureError where no verdict was possible."""

    def compare_answers(self, answer: str, reference: str) -> Verdict:
        """Whether two answers are the same in value."""

    def score_answer(self, answer: str, entry: Mapping[str, Any]) -> Verdict:
        """Whether a generator of reasoning-gym takes an answer to its record for right."""

    def run_program(self, program: str, tests: CodeTests) -> Verdict:
        """Whether a program passes its tests, run in the sandbox."""


@dataclass(frozen=True)
class Reference:
    """What an artifact is checked against: an answer or tests, or neither."""

    answer: str | None = None
    tests: CodeTests | None = None


@dataclass(frozen=True)
class Format:
    """A published file format of problems.

    Attributes:
        parse: reads one record, or raises RecordError.
        telling: keys that only records of this format have together; empty: never recognised, to be named.
    """

    parse: Callable[[Record], Problem]
    telling: frozenset[str]


class Task(ABC):
    """One task.

    Attributes:
        name: as records, metrics and prompts call it.
        dimensions: of its rubric (paper, arXiv 2605.03862).
        reward_form: how it is rewarded.
        formats: published formats of its problems, by the name that ``data.format`` takes.
        runs_programs: whether checking an artifact runs it, so that a sandbox is needed.
        solution_is_reasoning: whether ``Problem.solution`` is reasoning; otherwise it is an artifact.
        prompt_variables: names that prompts may use beside those of every task (``tasks.prompts``).
        answered: a pattern (multi-line, ending in a newline) that matches a completion as soon as nothing after it
            can change what ``read_artifact`` reads; empty: there is none.
        extraction_version: counts changes of ``read_artifact``, which change what a completion is worth: baselines
            cached under other rules are not used.
    """

    name: ClassVar[str]
    dimensions: ClassVar[Dimensions]
    reward_form: ClassVar[RewardForm]
    formats: ClassVar[Mapping[str, Format]] = {}
    runs_programs: ClassVar[bool] = False
    solution_is_reasoning: ClassVar[bool] = True
    prompt_variables: ClassVar[tuple[str, ...]] = ()
    answered: ClassVar[str] = ""
    extraction_version: ClassVar[str] = "1"

    @abstractmethod
    def read_artifact(self, problem: Problem, text: str) -> str | None:
        """The artifact in an executor's completion; None where there is none."""

    @abstractmethod
    def leaks(self, problem: Problem, reasoning: str) -> bool:
        """Whether a trace gives away what the executor is to find out."""

    @abstractmethod
    def mask(self, problem: Problem, reasoning: str) -> str:
        """``reasoning`` with ``?`` for what it gives away; unchanged where it does not leak, never leaking itself."""

    @abstractmethod
    def verify(self, problem: Problem, artifact: Artifact, tools: Tools) -> Verdict:
        """The verdict on an artifact.

        Raises:
            InfrastructureError: no verdict was possible.
            ValueError: the problem has nothing to check it against.
        """

    @abstractmethod
    def read_reference(self, record: Record) -> Reference:
        """The reference in a record of the project's own form. Raises RecordError where it is missing or unusable."""

    @abstractmethod
    def group_reference(self, record: Record) -> Reference:
        """The reference in a record of TraceLift-Groups, as far as there is one: a reasoning RM needs none."""

    @abstractmethod
    def complete(self, problem: Problem) -> Problem:
        """A problem of a group with all that a verifier needs. Raises RecordError where it cannot be had."""

    def values(self, problem: Problem) -> dict[str, Any]:
        """The values of ``prompt_variables`` for a problem."""
        return {}

    def read_statement(self, record: Record) -> str:
        """The statement in a record of the project's own form."""
        return required_text(record, "statement")

    def cut_statement(self, statement: str, limit: int) -> str:
        """A statement of at most about ``limit`` characters."""
        return statement[:limit].rstrip()

    def chance(self, problem: Problem) -> float:
        """The success rate of a guess, in [0, 1]."""
        return 0.0

    def read_problem(self, record: Record) -> Problem:
        """A record of the project's own form. Raises RecordError."""
        reference = self.read_reference(record)
        return Problem(
            id=identifier(record, "id"),
            task=self.name,
            statement=self.read_statement(record),
            task_type=optional_text(record, "task_type") or self.name,
            answer=reference.answer,
            tests=reference.tests,
            solution=optional_text(record, "solution"),
        )


def own_id(record: Record, prefix: str, *parts: str) -> str:
    """The record's own ``id``, else one made from what the problem says."""
    if record.get("id") is not None:
        return identifier(record, "id")
    return f"{prefix}-{xxhash.xxh3_64_hexdigest(chr(0).join(parts).encode())}"


def required_answer(record: Record, kind: str) -> str:
    """The reference ``answer`` of a record. Raises RecordError where it is missing or empty."""
    value = record.get("answer")
    answer = "" if value is None else scalar_text(value, "answer")
    if not answer:
        raise RecordError("no_reference", "answer", f"a {kind} problem needs a reference answer")
    return answer
