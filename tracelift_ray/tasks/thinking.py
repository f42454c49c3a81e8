"""Leaves out the reasoning that a thinking model writes between ``<think>`` and ``</think>`` before it answers."""

from __future__ import annotations

import re

from tracelift_ray.types import Prompt

OPEN, CLOSE = "<think>", "</think>"
_THOUGHT = re.compile(rf"{OPEN}.*?(?:{CLOSE}|\Z)", re.DOTALL)


def answer_in(prompt: Prompt, text: str) -> str:
    """What is read of the completion ``text`` of ``prompt``: all of it, or what stands outside the model's reasoning.

    Some chat templates end the prompt with the opening tag. Reasoning that is not closed reaches to the end.
    """
    if not prompt.strip_thinking:
        return text
    head, closed, rest = text.partition(CLOSE)
    if OPEN not in head and (closed or prompt.text.rstrip().endswith(OPEN)):
        text = rest
    return _THOUGHT.sub("", text)
