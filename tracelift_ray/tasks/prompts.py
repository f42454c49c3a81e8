"""Renders the prompts of planner and executor, in one of three presets, with their stop strings.

- ``plain``: for base models. A few words of instruction, then the problem, then the place where the answer goes.
- ``chat``: the same requests as a user turn of the model's own chat template.
- ``demo``: the one-line forms of the demo world's models.

The preset is chosen, never guessed: base models ship chat templates too. Every planner prompt ends with the opening
tag, because models close a tag far more often than they open one. A prompt becomes token ids here and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tracelift_ray.tasks.traces import CLOSING_TAG, OPENING_TAG
from tracelift_ray.types import DataError, Problem, Prompt

PRESETS = ("plain", "chat", "demo")

_PLANNER_REQUEST: dict[str, str] = {
    "math": (
        "Explain how to solve the problem, step by step and with the calculations, between <reasoning> and "
        "</reasoning>. Leave out the final answer: whoever reads your reasoning works it out."
    ),
    "code": (
        "Explain how to write the Python program, step by step and in words, between <reasoning> and </reasoning>. "
        "Leave out the code: whoever reads your reasoning writes it."
    ),
}
_EXECUTOR_REQUEST: dict[str, tuple[str, str]] = {  # without and with the reasoning
    "math": ("Solve the problem.", "Solve the problem by following the reasoning."),
    "code": (
        "Write the program in one fenced Python code block.",
        "Write the program in one fenced Python code block, by following the reasoning.",
    ),
}
#: How a math answer is asked for. SmolLM2-135M-Instruct goes on to count when it is asked for ``####`` in a chat: with
#: worked solutions as traces it then solves 4 of 16 GSM8K problems, and 12 of 16 with these words.
_ANSWER_REQUEST = {
    "plain": " End with the final answer on a line of its own, after ####.",
    "chat": ' End with "The answer is" and the final answer.',
}
#: What a base model writes when it goes on to a problem of its own.
_PLAIN_EXECUTOR_STOP: dict[str, tuple[str, ...]] = {
    "math": ("\nProblem:", "\nQuestion:", "\nReasoning:", "\n\n\n"),
    "code": ("\n```",),
}


def load_tokenizer(model: str) -> Any:
    """The tokenizer in the model directory ``model``.

    Raises:
        DataError: there is no such directory, or no tokenizer that loads in it.
    """
    from transformers import AutoTokenizer

    directory = Path(model)
    if not directory.is_dir():
        raise DataError(f"model {model}: no such directory; give the absolute path of a Hugging Face model directory")
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise DataError(f"model {model}: no tokenizer in it (tokenizer.json); save one with tokenizer.save_pretrained")
    try:
        return AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"model {model}: its tokenizer does not load ({cause}); save it again, whole") from error


class PromptRenderer:
    """Turns problems into prompts for one model.

    Args:
        tokenizer: as of ``load_tokenizer``.
        preset: ``plain``, ``chat`` or ``demo``.

    Attributes:
        opens_tag: the planner prompt already ends with ``<reasoning>``.
        planner_stop: strings that end a trace.

    Raises:
        DataError: an unknown preset, or ``chat`` for a tokenizer without a chat template.
    """

    opens_tag = True
    planner_stop = (CLOSING_TAG,)

    def __init__(self, tokenizer: Any, preset: str) -> None:
        if preset not in PRESETS:
            raise DataError(f"prompt preset {preset!r}: one of {', '.join(PRESETS)}")
        if preset == "chat" and not getattr(tokenizer, "chat_template", None):
            raise DataError(
                f"model {tokenizer.name_or_path}: its tokenizer has no chat template, which planner.prompt=chat and "
                "executor.prompt=chat need; choose prompt=plain, or save the tokenizer with a chat_template"
            )
        self.tokenizer = tokenizer
        self.preset = preset
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        control = sorted((token for token in special | set(tokenizer.all_special_tokens) if len(token) > 1), key=len)
        self._control = re.compile("|".join(map(re.escape, reversed(control)))) if control else None

    def planner(self, problem: Problem) -> Prompt:
        """The prompt that asks for a trace of ``problem``; the completion goes on inside the tag."""
        statement = self._defused(problem.statement)
        if self.preset == "demo":
            return self._encoded(f"<{problem.task}> {statement} {OPENING_TAG}")
        request = f"{_PLANNER_REQUEST[problem.task]}\n\n{self._described(problem)}"
        opening = f"{OPENING_TAG}\n"
        if self.preset == "plain":
            return self._encoded(f"{request}\n\n{opening}")
        return self._chat(request, opening)

    def executor(self, problem: Problem, reasoning: str | None) -> Prompt:
        """The prompt that asks for the artifact, with a trace's reasoning or, for the baseline, without (None)."""
        shown = None if reasoning is None else self._defused(reasoning)
        if self.preset == "demo":
            trace = "" if shown is None else f"{OPENING_TAG} {shown} {CLOSING_TAG} "
            return self._encoded(f"<{problem.task}> {self._defused(problem.statement)} {trace}<answer>")
        request = _EXECUTOR_REQUEST[problem.task][shown is not None]
        if problem.task == "math":
            request += _ANSWER_REQUEST[self.preset]
        request += f"\n\n{self._described(problem)}"
        if shown is not None:
            request += f"\n\nReasoning: {shown}"
        if self.preset == "plain":
            return self._encoded(request + ("\n\nAnswer:" if problem.task == "math" else "\n\n```python\n"))
        return self._chat(request, "")

    def request(self, text: str) -> Prompt:
        """A request of any other kind: a user turn with ``chat``, else the text and a blank line after it."""
        shown = self._defused(text)
        return self._chat(shown, "") if self.preset == "chat" else self._encoded(f"{shown}\n\n")

    def executor_stop(self, task: str) -> tuple[str, ...]:
        """Strings that end an artifact, beside the model's own end of sequence."""
        return _PLAIN_EXECUTOR_STOP[task] if self.preset == "plain" else ()

    def _described(self, problem: Problem) -> str:
        """The problem, and for code how the program will be called."""
        text = f"Problem: {self._defused(problem.statement)}"
        return f"{text}\n{self._interface(problem)}" if problem.task == "code" else text

    def _interface(self, problem: Problem) -> str:
        """What a program must look like to be tested. One test is shown, for names and types; the others are not."""
        tests = problem.tests
        if tests is None or tests.kind == "stdio":
            return "The program reads standard input and prints to standard output."
        if tests.entry_point is not None:
            return f"The function is called {tests.entry_point}."
        setup = f"{tests.setup}\n" if tests.setup else ""
        return self._defused(f"The code must pass this test:\n{setup}{tests.asserts[0]}")

    def _defused(self, text: str) -> str:
        """``text`` in which no control token of the model, such as an end of turn, is read as one."""
        if self._control is None:
            return text
        return self._control.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def _encoded(self, text: str) -> Prompt:
        return Prompt(tuple(self.tokenizer(text)["input_ids"]), text)

    def _chat(self, request: str, opening: str) -> Prompt:
        """A user turn and the start of the assistant's. The template writes the model's own control tokens."""
        messages = [{"role": "user", "content": request}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + opening
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        turns = (("user", request), ("assistant", opening)) if opening else (("user", request),)
        return Prompt(tuple(ids), text, turns)
