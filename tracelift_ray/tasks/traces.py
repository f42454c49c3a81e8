"""Reads a planner's completion as a trace: the text inside ``<reasoning>…</reasoning>``.

Text outside the tag is no reasoning, and is not shown to the executor.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracelift_ray.tasks.thinking import answer_in
from tracelift_ray.types import Completion, FinishReason, Malformed, Problem, Prompt, Trace

OPENING_TAG = "<reasoning>"
CLOSING_TAG = "</reasoning>"
#: Stands where a trace gave something away.
MASK = "?"


def masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """``text`` with ``MASK`` in the places of ``spans``; of two that overlap, the first."""
    pieces, position = [], 0
    for start, end in sorted(spans):
        if start >= position:
            pieces += [text[position:start], MASK]
            position = end
    return "".join([*pieces, text[position:]])


def read_trace(
    problem: Problem,
    index: int,
    prompt: Prompt,
    completion: Completion,
    opened: bool,
    whole_text: bool = False,
) -> Trace:
    """Reads one completion as the trace ``index`` of ``problem``.

    Args:
        opened: the prompt already ends with the opening tag.
        whole_text: a malformed trace keeps its kind, and its text without tags serves as the reasoning.

    An empty trace has no reasoning under either rule.
    """
    text = answer_in(prompt, completion.text)
    reasoning, malformed = _read(text, completion.finish_reason, opened)
    if malformed is not None and malformed != "empty" and whole_text:
        text = text.replace(OPENING_TAG, "").replace(CLOSING_TAG, "").strip()
        reasoning, malformed = (text, malformed) if text else (None, "empty")
    return Trace(problem.id, index, prompt.token_ids, completion, reasoning, malformed, prompt.text)


def _read(text: str, finish_reason: FinishReason, opened: bool) -> tuple[str | None, Malformed | None]:
    start = text.find(OPENING_TAG)
    if opened and text[: max(start, 0)].strip():
        start = -1  # A second opening tag in the middle opens nothing.
    if start >= 0:
        text = text[start + len(OPENING_TAG) :]
    elif not opened:
        return None, "unopened"
    inside, tag, _ = text.partition(CLOSING_TAG)
    if not tag:
        return None, "length" if finish_reason == "length" else "unclosed"
    inside = inside.strip()
    return (inside, None) if inside else (None, "empty")
