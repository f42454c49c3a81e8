"""Examples for a warm start: which reasoning a planner is shown, and as which tokens.

Promises: a planner is trained on its own prompt, token for token as in a run, and on a completion that closes the tag;
no example states its answer on a separate line; nothing is left out without being counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.config.schema import OnError
from tracelift_ray.data.problems import load_problems
from tracelift_ray.data.readings import reading_of
from tracelift_ray.data.rubric_records import load_rubric_records
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.prompts import PromptRenderer
from tracelift_ray.tasks.table import task_of
from tracelift_ray.tasks.traces import CLOSING_TAG, OPENING_TAG
from tracelift_ray.types import Problem

_CALCULATOR_NOTE = re.compile(r"<<[^<>]*>>")
_ANSWER_LINE = re.compile(
    r"^\s*(?:####.*|(?:so|thus|therefore|hence)?\W*the\s+(?:final\s+)?answer\s+(?:is|equals)\b.*|\W*answer\s*:.*"
    r"|\$*\\boxed\{.*\}\W*)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Example:
    """A problem, and reasoning without its answer."""

    problem: Problem
    reasoning: str


@dataclass(frozen=True)
class EncodedExample:
    """An example as token ids: the planner's prompt, and the completion that the loss is taken on."""

    example: Example
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def load_examples(path: str, format: str, *, on_error: OnError = "strict", limit: int = 0) -> list[Example]:
    """Examples from a JSONL file: every positive trace of TraceLift-Groups (``groups``), else worked solutions.

    Args:
        format: ``groups``, ``gsm8k``, ``problems`` or ``auto`` (as ``load_problems`` detects it).
        limit: read this many records; 0 reads all.

    Raises:
        DataError: the file is faulty, or holds no example.
    """
    reading = reading_of(path, format)
    problems = () if reading.format == "groups" else load_problems(path, format, on_error=on_error, limit=limit)
    if reading.format == "groups" or (problems and problems.report.format == "groups"):
        groups = load_rubric_records(reading.location, on_error=on_error, limit=limit)
        candidates = [(group.problem, trace.reasoning) for group in groups for trace in group.positives]
    else:
        reasoned = [problem for problem in problems if task_of(problem.task).solution_is_reasoning]
        candidates = [(problem, problem.solution or "") for problem in reasoned]
    examples = [Example(problem, clean) for problem, text in candidates if (clean := clean_reasoning(text))]
    if not examples:
        raise DataError(
            f"{path}: no trace to learn from; a warm start needs math problems with a worked solution "
            "(gsm8k, or problems with `solution`), or TraceLift-Groups with positive traces"
        )
    return examples


def clean_reasoning(text: str) -> str:
    """``text`` without tags, calculator notes (``<<2*3=6>>``) and lines that only state the answer."""
    text = _CALCULATOR_NOTE.sub("", text.replace(OPENING_TAG, "").replace(CLOSING_TAG, ""))
    return "\n".join(line for line in text.splitlines() if not _ANSWER_LINE.match(line)).strip()


def encode(examples: Sequence[Example], renderer: PromptRenderer, max_length: int) -> tuple[list[EncodedExample], int]:
    """Token ids of the examples of at most ``max_length`` tokens, and how many were longer and left out.

    Raises:
        DataError: all of them are longer.
    """
    encoded = []
    for example in examples:
        prompt = renderer.planner(example.problem)
        text = completion_text(prompt.text, example.reasoning, opened=renderer.opens_tag(example.problem.task))
        ids = tuple(renderer.tokenizer(text, add_special_tokens=False)["input_ids"])
        item = EncodedExample(example, tuple(prompt.token_ids), ids)
        if len(item) <= max_length:
            encoded.append(item)
    if not encoded:
        raise DataError(f"every one of {len(examples)} examples has more than max_length={max_length} tokens; raise it")
    return encoded, len(examples) - len(encoded)


def completion_text(prompt: str, reasoning: str, *, opened: bool) -> str:
    """What the planner is to write after ``prompt``, in the prompt's own spacing around the tag."""
    gap = "\n" if prompt.endswith("\n") else " "
    if not opened:
        return f"{OPENING_TAG}{gap}{reasoning}{gap}{CLOSING_TAG}"
    return f"{'' if prompt.endswith(gap) else gap}{reasoning}{gap}{CLOSING_TAG}"
