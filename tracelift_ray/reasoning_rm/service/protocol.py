"""The scoring protocol as pure functions: requests and answers, made and read, for both sides of the connection.

A request is a JSON object, sent by ``POST``::

    {"items": [{"problem": "…", "reasoning": "…", "task_name": "math", "task_type": "algebra"}],
     "max_length": 3072, "batch_size": 8}

and its answer ``{"scores": [0.71]}``, one number in [0, 1] for each item. ``task_name``, ``task_type``, ``max_length``
and ``batch_size`` may be left out. Two fields are this project's own: an item's ``tests`` (the text between the tags of
the RM's input) and the request's ``dimensions: true``, which asks for the labels beside the scores. An answer may also
come under ``results``, ``outputs`` or ``data``, and an item of it may be an object that holds the score.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracelift_ray.reasoning_rm.model.inputs import tests_text
from tracelift_ray.tasks.table import TASKS, task_of
from tracelift_ray.types import Problem, RubricScore

ANSWER_KEYS = ("scores", "results", "outputs", "data")
SCORE_KEYS = ("total_score", "score", "reward", "total", "value")
#: Sums of float32 may leave [0, 1] by so much.
ROUNDING = 1e-6
_ITEM_KEYS = ("problem", "reasoning", "task_name", "task_type", "tests")
_REQUEST_KEYS = ("items", "max_length", "batch_size", "dimensions")


class RequestRefused(ValueError):
    """A request that gets an error instead of scores: ``status`` 400 where it is no JSON, 422 where it is malformed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class UnreadableAnswer(ValueError):
    """An answer that does not hold one score in [0, 1] for each item."""


@dataclass(frozen=True)
class ScoringRequest:
    """What a client asks for.

    Attributes:
        items: each a problem, of which id and answer are not known, and a trace.
        max_length: a cut in tokens, or None.
        batch_size: how many items may be scored together, or None.
        dimensions: whether labels are asked for.
    """

    items: tuple[tuple[Problem, str], ...]
    max_length: int | None
    batch_size: int | None
    dimensions: bool


def write_request(items: Sequence[tuple[Problem, str]], max_length: int, send_tests: bool) -> dict[str, Any]:
    """The body of a request, ready for JSON."""
    return {
        "items": [_written(problem, reasoning, send_tests) for problem, reasoning in items],
        "max_length": max_length,
        "batch_size": len(items),
    }


def _written(problem: Problem, reasoning: str, send_tests: bool) -> dict[str, str]:
    item = {
        "problem": problem.statement,
        "reasoning": reasoning,
        "task_name": problem.task,
        "task_type": problem.task_type,
    }
    if send_tests and (tests := tests_text(problem)):
        item["tests"] = tests
    return item


def read_request(body: bytes, max_items: int, task: str) -> ScoringRequest:
    """The request in a body.

    Args:
        max_items: more items are refused.
        task: of items that name none.

    Raises:
        RequestRefused: names the field and what would be right.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, f"the body is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise RequestRefused(422, "the body must be an object with a list under items")
    _refuse_unknown("the body", values, _REQUEST_KEYS)
    items = values.get("items")
    if not isinstance(items, list) or not items:
        raise RequestRefused(422, "items must be a list of at least one problem and reasoning")
    if len(items) > max_items:
        raise RequestRefused(422, f"items are {len(items)}, at most {max_items} are taken; send them in parts")
    dimensions = values.get("dimensions", False)
    if not isinstance(dimensions, bool):
        raise RequestRefused(422, "dimensions must be true or false")
    return ScoringRequest(
        tuple(_item(item, index, task) for index, item in enumerate(items)),
        _count(values, "max_length"),
        _count(values, "batch_size"),
        dimensions,
    )


def _refuse_unknown(where: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [key for key in values if key not in known]
    if unknown:
        raise RequestRefused(422, f"{where} has the unknown field {unknown[0]!r:.80}; there are {', '.join(known)}")


def _count(values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestRefused(422, f"{key} must be a whole number of at least 1")
    return value


def _item(item: Any, index: int, task: str) -> tuple[Problem, str]:
    where = f"items[{index}]"
    if not isinstance(item, dict):
        raise RequestRefused(422, f"{where} must be an object with problem and reasoning")
    _refuse_unknown(where, item, _ITEM_KEYS)
    texts = {key: _text(item, key, where) for key in _ITEM_KEYS}
    for key in ("problem", "reasoning"):
        if texts[key] is None:
            raise RequestRefused(422, f"{where}.{key} is missing")
    name = texts["task_name"] or task
    if name not in TASKS:
        raise RequestRefused(422, f"{where}.task_name must be {' or '.join(TASKS)}")
    task_type = name if texts["task_type"] is None else texts["task_type"]
    problem = Problem("", name, texts["problem"] or "", task_type=task_type, tests_text=texts["tests"] or "")
    return problem, texts["reasoning"] or ""


def _text(item: Mapping[str, Any], key: str, where: str) -> str | None:
    value = item.get(key)
    if value is not None and not isinstance(value, str):
        raise RequestRefused(422, f"{where}.{key} must be text")
    return value


def write_answer(request: ScoringRequest, scores: Sequence[RubricScore]) -> dict[str, Any]:
    """The answer to a request, ready for JSON. With dimensions: their labels in [0, 4], the total head's score, and
    whether the input was cut."""
    answer: dict[str, Any] = {"scores": [score.score for score in scores]}
    if request.dimensions:
        answer["dimensions"] = [
            dict(zip(task_of(problem.task).dimensions, score.labels, strict=True))
            for (problem, _), score in zip(request.items, scores, strict=True)
        ]
        answer["totals"] = [score.total for score in scores]
        answer["truncated"] = [score.truncated for score in scores]
    return answer


def read_answer(body: bytes, count: int) -> list[float]:
    """The ``count`` scores in an answer.

    Raises:
        UnreadableAnswer: no JSON, none of the known keys, another count, or something that is no number in [0, 1].
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"the answer is no JSON: {error}") from error
    if isinstance(answer, dict):
        found = next((key for key in ANSWER_KEYS if key in answer), None)
        if found is None:
            raise UnreadableAnswer(f"the answer has none of the keys {', '.join(ANSWER_KEYS)}")
        answer = answer[found]
    if not isinstance(answer, list):
        raise UnreadableAnswer(f"the scores are {_shown(answer)}, not a list")
    if len(answer) != count:
        raise UnreadableAnswer(f"{len(answer)} scores came for {count} traces")
    return [_score(item, index) for index, item in enumerate(answer)]


def _score(item: Any, index: int) -> float:
    value = item
    if isinstance(item, dict):
        key = next((key for key in SCORE_KEYS if key in item), None)
        if key is None:
            raise UnreadableAnswer(f"score {index} has none of the keys {', '.join(SCORE_KEYS)}")
        value = item[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnreadableAnswer(f"score {index} is {_shown(value)}, not a number")
    if not -ROUNDING <= value <= 1 + ROUNDING:  # which a NaN is not either
        raise UnreadableAnswer(f"score {index} is {_shown(value)}, outside [0, 1]")
    return min(1.0, max(0.0, float(value)))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
