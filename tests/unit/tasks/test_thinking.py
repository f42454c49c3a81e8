"""A thinking model's own reasoning, kept or left out."""

import pytest

from tracelift_ray.tasks.table import read_artifact
from tracelift_ray.tasks.thinking import answer_in
from tracelift_ray.tasks.traces import read_trace
from tracelift_ray.types import Completion, Problem, Prompt

STRIP = Prompt((), "p", strip_thinking=True)
OPENED = Prompt((), "p<think>\n", strip_thinking=True)
MATH = Problem("m", "math", "s", answer="5")


@pytest.mark.parametrize(
    ("prompt", "text", "answer"),
    [
        (Prompt((), "p"), "<think>4</think>5", "<think>4</think>5"),
        (STRIP, "<think>4</think>5", "5"),
        (STRIP, "5", "5"),
        (STRIP, "4 or 6</think>5", "5"),
        (STRIP, "<think>4, no", ""),
        (STRIP, "a<think>b</think>c<think>d</think>e", "ace"),
        (OPENED, "4</think>5", "5"),
        (OPENED, "4, no", ""),
    ],
)
def test_what_is_read_of_a_completion(prompt, text, answer):
    assert answer_in(prompt, text) == answer


def test_artifacts_and_traces_are_read_behind_the_thinking_and_keep_the_completion():
    answered = Completion((), "<think>#### 4\n</think>#### 5", "stop")
    artifact = read_artifact(MATH, STRIP, answered)
    assert (artifact.content, artifact.completion_text) == ("5", answered.text)
    assert read_artifact(MATH, Prompt((), "p"), answered).content == "4"
    planned = Completion((1,), "<think><reasoning>no</reasoning></think><reasoning>add</reasoning>", "stop")
    trace = read_trace(MATH, 0, STRIP, planned, opened=False)
    assert trace.reasoning == "add" and trace.completion is planned
