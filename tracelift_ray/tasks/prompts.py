"""Renders the prompts of planner and executor for one model, from a prompt file (``tasks.templates``).

A prompt becomes token ids here and nowhere else. What a problem, a trace or a request holds is data: it is not rendered
as a template, and no control token of the model in it, such as an end of turn, is read as one.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.tasks.templates import RoleTemplate, read_prompts
from tracelift_ray.tasks.traces import OPENING_TAG
from tracelift_ray.types import Problem, Prompt

#: Planner prompts that are not rendered again.
PROMPTS_KEPT = 4096


def load_tokenizer(model: str) -> Any:
    """The tokenizer in the model directory ``model``.

    Raises:
        DataError: there is no such directory, or no tokenizer that loads in it.
    """
    directory = Path(model)
    if not directory.is_dir():
        raise DataError(f"model {model}: no such directory; give the absolute path of a Hugging Face model directory")
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise DataError(f"model {model}: no tokenizer in it (tokenizer.json); save one with tokenizer.save_pretrained")
    try:
        return _tokenizer_class(directory).from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"model {model}: its tokenizer does not load ({cause}); save it again, whole") from error


def _tokenizer_class(directory: Path) -> Any:
    """The class that loads the tokenizer in ``directory``.

    Where the file names the class of all tokenizers without code of their own, it is taken without a look at the model,
    for which transformers imports torch and the code of its models: seconds at the start of a run.
    """
    config = directory / "tokenizer_config.json"
    if config.is_file() and json.loads(config.read_bytes()).get("tokenizer_class") == "TokenizersBackend":
        from transformers import TokenizersBackend

        return TokenizersBackend
    from transformers import AutoTokenizer

    return AutoTokenizer


class PromptRenderer:
    """Turns problems into prompts for one model.

    Args:
        tokenizer: as of ``load_tokenizer``.
        prompt: a preset's name, or the path of a prompt file.

    Raises:
        DataError: there is no such prompt file, it is at fault, or it wants a chat template that the tokenizer lacks.
    """

    def __init__(self, tokenizer: Any, prompt: str) -> None:
        self.file = read_prompts(prompt)
        if self.file.chat and not getattr(tokenizer, "chat_template", None):
            raise DataError(
                f"model {tokenizer.name_or_path}: its tokenizer has no chat template, which planner.prompt={prompt} "
                f"and executor.prompt={prompt} need; choose prompt=plain, or save the tokenizer with a chat_template"
            )
        self.tokenizer = tokenizer
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        control = sorted((token for token in special | set(tokenizer.all_special_tokens) if len(token) > 1), key=len)
        self._control = re.compile("|".join(map(re.escape, reversed(control)))) if control else None
        self._planner = lru_cache(PROMPTS_KEPT)(self._render_planner)  # one prompt for all traces of a group

    def planner(self, problem: Problem) -> Prompt:
        """The prompt that asks for a trace of ``problem``. Raises DataError where the file has none for its task."""
        return self._planner(problem)

    def executor(self, problem: Problem, reasoning: str | None) -> Prompt:
        """The prompt that asks for the artifact, with a trace's reasoning or, for the baseline, without (None).

        Raises:
            DataError: the file has none for the problem's task.
        """
        role = self.file.role(problem.task, "executor")
        if reasoning is None:
            return self._prompt(role, "without_reasoning", self._values(problem))
        return self._prompt(role, "with_reasoning", self._values(problem) | {"reasoning": self._defused(reasoning)})

    def request(self, text: str) -> Prompt:
        """A request of any other kind. Raises DataError where the file has no prompt for it."""
        return self._prompt(self.file.free_request(), "prompt", {"request": self._defused(text)})

    def opens_tag(self, task: str) -> bool:
        """Whether the planner's prompt already ends with the opening tag, so that its completion goes on inside."""
        return self.file.role(task, "planner").opening.rstrip().endswith(OPENING_TAG)

    def planner_stop(self, task: str) -> tuple[str, ...]:
        """Strings that end a trace, beside the model's own end of sequence."""
        return self.file.role(task, "planner").stop

    def executor_stop(self, task: str) -> tuple[str, ...]:
        """Strings that end an artifact, beside the model's own end of sequence."""
        return self.file.role(task, "executor").stop

    def _render_planner(self, problem: Problem) -> Prompt:
        role = self.file.role(problem.task, "planner")
        return self._prompt(role, "prompt", self._values(problem))

    def _values(self, problem: Problem) -> dict[str, Any]:
        values = {"task": problem.task, "task_type": problem.task_type, "statement": problem.statement}
        return {name: self._defused(each) for name, each in (values | task_of(problem.task).values(problem)).items()}

    def _defused(self, value: Any) -> Any:
        """A value in whose texts no control token of the model, such as an end of turn, is read as one."""
        if isinstance(value, (list, tuple)):
            return type(value)(map(self._defused, value))
        if self._control is None or not isinstance(value, str):
            return value
        return self._control.sub(lambda match: f"{match[0][0]} {match[0][1:]}", value)

    def _prompt(self, role: RoleTemplate, text: str, values: dict[str, Any]) -> Prompt:
        rendered = role.render(text, values)
        if self.file.chat:
            return self._chat(rendered, role.opening)
        whole = rendered + role.opening
        ids = tuple(self.tokenizer(whole)["input_ids"])
        return Prompt(ids, whole, strip_thinking=self.file.strip_thinking)

    def _chat(self, request: str, opening: str) -> Prompt:
        """A user turn and the start of the assistant's. The template writes the model's own control tokens."""
        turns = ([("system", self.file.system)] if self.file.system else []) + [("user", request)]
        messages = [{"role": role, "content": content} for role, content in turns]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self.file.chat_template_kwargs
        )
        ids = self.tokenizer(text + opening, add_special_tokens=False)["input_ids"]
        turns += [("assistant", opening)] if opening else []
        return Prompt(tuple(ids), text + opening, tuple(turns), self.file.strip_thinking)
