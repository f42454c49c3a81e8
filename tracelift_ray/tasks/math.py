"""Math: the artifact is a final answer, compared in value with the reference. Formats: GSM8K and MATH-500."""

from __future__ import annotations

import re
from typing import ClassVar

from tracelift_ray.records import Record, RecordError, identifier, mapping, optional_text, required_text, scalar_text
from tracelift_ray.reward.forms import AnswerForm
from tracelift_ray.tasks.answers import ANSWERED, read_answer
from tracelift_ray.tasks.base import Format, Reference, Task, Tools, own_id, required_answer
from tracelift_ray.tasks.leaks import mask_answer, states_answer
from tracelift_ray.types import Artifact, Problem, Verdict

MATH = "math"
_CALCULATOR_NOTE = re.compile(r"<<[^<>]*>>")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
#: A longer reference solution is no answer.
_SHORT_ANSWER_CHARS = 64


def parse_gsm8k(record: Record) -> Problem:
    """GSM8K (Cobbe et al. 2021): the reference follows ``####``; the solution loses its calculator notes."""
    question = required_text(record, "question")
    worked, mark, reference = required_text(record, "answer").rpartition("####")
    reference = _THOUSANDS.sub("", reference.strip())
    if not mark or not reference:
        raise RecordError("no_reference", "answer", "must end with #### and the reference answer")
    return Problem(
        id=own_id(record, "gsm8k", question, reference),
        task=MATH,
        statement=question,
        task_type=MATH,
        answer=reference,
        solution=_CALCULATOR_NOTE.sub("", worked).strip() or None,
    )


def parse_math500(record: Record) -> Problem:
    """MATH and its subset MATH-500 (Hendrycks et al. 2021; Lightman et al. 2023): the reference is ``answer``, in
    LaTeX; the subject becomes the task type."""
    problem = required_text(record, "problem")
    answer = required_answer(record, MATH)
    id = record.get("unique_id")
    return Problem(
        id=f"math-{identifier(record, 'unique_id')}" if id is not None else own_id(record, "math", problem, answer),
        task=MATH,
        statement=problem,
        task_type=optional_text(record, "subject") or MATH,
        answer=answer,
        solution=optional_text(record, "solution"),
    )


class MathTask(Task):
    """Problems with one final answer, from word problems to competition mathematics."""

    name = MATH
    dimensions = (
        "problem_understanding",
        "solution_strategy",
        "step_coherence",
        "calculation_correctness",
        "answer_support",
    )
    reward_form = AnswerForm()
    answered = ANSWERED
    formats: ClassVar = {
        "gsm8k": Format(parse_gsm8k, frozenset({"question", "answer"})),
        "math500": Format(parse_math500, frozenset({"problem", "answer", "subject"})),
    }

    def read_artifact(self, problem: Problem, text: str) -> str | None:
        return read_answer(text)

    def leaks(self, problem: Problem, reasoning: str) -> bool:
        return problem.answer is not None and states_answer(problem.answer, reasoning)

    def mask(self, problem: Problem, reasoning: str) -> str:
        """Every mention of the answer from the first leak on is masked."""
        return reasoning if problem.answer is None else mask_answer(problem.answer, reasoning)

    def verify(self, problem: Problem, artifact: Artifact, tools: Tools) -> Verdict:
        if problem.answer is None:
            raise ValueError(f"problem {problem.id}: a math problem without a reference answer cannot be verified")
        if artifact.content is None:
            return Verdict("no_artifact")
        return tools.compare_answers(artifact.content, problem.answer)

    def read_reference(self, record: Record) -> Reference:
        """The field ``answer``."""
        return Reference(answer=required_answer(record, MATH))

    def group_reference(self, record: Record) -> Reference:
        """The answer: said outright, else after ``####``, else a reference solution that is an answer alone."""
        metadata = mapping(record.get("metadata"), "metadata")
        for holder, field in ((record, "answer"), (metadata, "metadata.answer")):
            if holder.get("answer") is not None:
                return Reference(scalar_text(holder["answer"], field) or None)
        value = record.get("reference_solution")
        solution = "" if value is None else scalar_text(value, "reference_solution")
        if "####" in solution:
            return Reference(solution.rsplit("####", 1)[1].strip() or None)
        alone = len(solution) <= _SHORT_ANSWER_CHARS and re.fullmatch(r"\S+", solution)
        return Reference(solution if alone else None)

    def complete(self, problem: Problem) -> Problem:
        """The problem as it is; it must have an answer."""
        if problem.answer is None:
            rule = "must hold the answer, in answer, metadata.answer, or after #### in reference_solution"
            raise RecordError("no_reference", "reference_solution", rule, problem.solution)
        return problem
