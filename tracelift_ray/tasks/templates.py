"""Prompt files: which texts a model is given, by task and role, in YAML that users may write themselves.

A prompt file is named by ``planner.prompt``, ``executor.prompt`` and the like: a preset of ``conf/prompts`` or the path
of another file. Its texts are Jinja2 templates, rendered in a sandbox where an unknown variable is an error. A file
that is read is complete and sound: unknown keys, missing texts, syntax errors and unknown variables are refused here,
in one line that names file, task, role and remedy. docs/prompts.md describes the fields.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import jinja2.meta
import yaml
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tracelift_ray.config.load import nearest
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.presets import prompt_path
from tracelift_ray.tasks.table import TASKS

FORMS = ("text", "chat")
THINKING = ("keep", "strip")
#: The texts of each role; those of the executor come without a trace, for the baseline, and with one.
TEXTS = {"planner": ("prompt",), "executor": ("without_reasoning", "with_reasoning")}
#: What every text may use; ``with_reasoning`` may use ``reasoning`` besides, and a task adds its own variables.
VARIABLES = ("task", "task_type", "statement")
_FIELDS = ("form", "thinking", "system", "chat_template_kwargs", "request", "tasks")
_REQUEST_FIELDS = ("prompt", "opening", "judge_stop")

_JINJA = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
)


@dataclass(frozen=True)
class RoleTemplate:
    """What one role is given for one task.

    Attributes:
        where: file, task and role, for messages.
        texts: the compiled texts by name.
        opening: stands behind the text; in a chat it begins the model's turn.
        stop: strings that end the completion.
    """

    where: str
    texts: Mapping[str, Template]
    opening: str
    stop: tuple[str, ...]

    def render(self, text: str, values: Mapping[str, Any]) -> str:
        """One of the texts. Raises DataError where it cannot be rendered with these values."""
        try:
            return self.texts[text].render(values)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise DataError(f"{self.where}.{text} cannot be rendered: {error}") from error


@dataclass(frozen=True)
class PromptFile:
    """A prompt file.

    Attributes:
        path: where it lies.
        source: its text.
        chat: whether prompts are turns of the tokenizer's chat template.
        strip_thinking: whether a model's own reasoning is left out of what is read.
        system: a system turn before the user's; empty: none.
        chat_template_kwargs: further arguments of the chat template.
        roles: by task and role, as far as the file has them.
        request: the role of requests of any other kind, if the file has it; its ``stop`` ends a judge's reply.
    """

    path: Path
    source: str
    chat: bool
    strip_thinking: bool = False
    system: str = ""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[tuple[str, str], RoleTemplate] = field(default_factory=dict)
    request: RoleTemplate | None = None

    def role(self, task: str, role: str) -> RoleTemplate:
        """The templates of a task and role. Raises DataError where the file has none."""
        found = self.roles.get((task, role))
        if found is None:
            fields = ", ".join((*TEXTS[role], "opening", "stop"))
            raise DataError(f"{self.path}: task {task} has no {role} prompt; add tasks.{task}.{role} with {fields}")
        return found

    def free_request(self) -> RoleTemplate:
        """The role of requests of any other kind. Raises DataError where the file has none."""
        if self.request is None:
            fields = ", ".join(_REQUEST_FIELDS)
            raise DataError(f"{self.path}: no prompt for requests to a judge or writer; add request with {fields}")
        return self.request


def read_prompts(prompt: str) -> PromptFile:
    """Read a preset or a file of a user's.

    Raises:
        DataError: the file does not exist or is at fault.
    """
    path = prompt_path(prompt)
    source = path.read_text("utf-8")
    try:
        content = yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise DataError(f"{path}: no YAML{line}: {getattr(error, 'problem', None) or error}") from error
    return _Reader(path, source).read(content)


class _Reader:
    """Turns the content of one file into a PromptFile."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source

    def read(self, content: Any) -> PromptFile:
        """The file. Raises DataError at the first fault."""
        top = self._mapping("", content, _FIELDS, required=("form", "tasks"))
        chat = self._word(top, "form", FORMS, "") == "chat"
        if not chat and (top.get("system") or top.get("chat_template_kwargs")):
            self._fail("form", "must be chat, since system and chat_template_kwargs belong to a chat template")
        tasks = self._mapping("tasks", top["tasks"], TASKS)
        roles = {}
        for task, given in tasks.items():
            parts = self._mapping(f"tasks.{task}", given, ("define", *TEXTS))
            define = self._text(parts, "define", f"tasks.{task}") if "define" in parts else ""
            for role in TEXTS.keys() & parts.keys():
                roles[task, role] = self._role(task, role, parts[role], define)
        return PromptFile(
            self.path,
            self.source,
            chat,
            self._word(top, "thinking", THINKING, "keep") == "strip",
            self._text(top, "system", "") if "system" in top else "",
            self._mapping("chat_template_kwargs", top.get("chat_template_kwargs") or {}, None),
            roles,
            self._request(top["request"]) if "request" in top else None,
        )

    def _role(self, task: str, role: str, given: Any, define: str) -> RoleTemplate:
        key = f"tasks.{task}.{role}"
        fields = (*TEXTS[role], "opening", "stop")
        parts = self._mapping(key, given, fields, required=fields)
        known = (*VARIABLES, *TASKS[task].prompt_variables)
        texts = {
            name: self._template(
                f"{key}.{name}",
                f"{define}\n{self._text(parts, name, key)}" if define else self._text(parts, name, key),
                (*known, "reasoning") if name == "with_reasoning" else known,
            )
            for name in TEXTS[role]
        }
        return RoleTemplate(f"{self.path}: {key}", texts, self._text(parts, "opening", key), self._stop(parts, key))

    def _request(self, given: Any) -> RoleTemplate:
        parts = self._mapping("request", given, _REQUEST_FIELDS, required=_REQUEST_FIELDS)
        text = self._template("request.prompt", self._text(parts, "prompt", "request"), ("request",))
        opening = self._text(parts, "opening", "request")
        return RoleTemplate(
            f"{self.path}: request", {"prompt": text}, opening, self._stop(parts, "request", "judge_stop")
        )

    def _template(self, key: str, text: str, known: Collection[str]) -> Template:
        try:
            unknown = jinja2.meta.find_undeclared_variables(_JINJA.parse(text)) - set(known)
        except jinja2.TemplateSyntaxError as error:
            self._fail(key, f"no Jinja2 template, line {error.lineno}: {error.message}")
        if unknown:
            name = sorted(unknown)[0]
            self._fail(key, f"{{{{ {name} }}}} is no variable here; {nearest(name, known)}")
        return _JINJA.from_string(text)

    def _mapping(
        self, key: str, value: Any, fields: Collection[str] | None, required: Collection[str] = ()
    ) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            known = f" of {', '.join(fields)}" if fields else ""
            self._fail(key or "the file", f"must be a mapping{known}")
        for name in value:
            if fields is not None and name not in fields:
                self._fail(f"{key}.{name}" if key else str(name), f"no such field; {nearest(str(name), fields)}")
        for name in required:
            if name not in value:
                self._fail(f"{key}.{name}" if key else name, "is missing; add it")
        return value

    def _text(self, parts: Mapping[str, Any], name: str, key: str) -> str:
        value = parts[name]
        if not isinstance(value, str):
            self._fail(f"{key}.{name}" if key else name, f"must be text, is {value!r}")
        return value

    def _stop(self, parts: Mapping[str, Any], key: str, name: str = "stop") -> tuple[str, ...]:
        value = parts[name]
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self._fail(f"{key}.{name}", f'must be a list of texts, such as ["\\n\\n"], is {value!r}')
        return tuple(value)

    def _word(self, parts: Mapping[str, Any], name: str, words: Collection[str], default: str) -> str:
        value = parts.get(name, default)
        if value not in words:
            self._fail(name, f"must be {' or '.join(words)}, is {value!r}")
        return str(value)

    def _fail(self, key: str, rule: str) -> NoReturn:
        raise DataError(f"{self.path}: {key}: {rule}")
