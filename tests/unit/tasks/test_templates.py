"""Prompt files are checked whole when they are read: every fault is one line with file, place and remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.presets import presets, prompt_identity, prompt_path
from tracelift_ray.tasks.table import TASKS
from tracelift_ray.tasks.templates import read_prompts

PLANNER = {"prompt": "{{ statement }}", "opening": "", "stop": []}
EXECUTOR = {"without_reasoning": "a", "with_reasoning": "{{ reasoning }}", "opening": "", "stop": []}


def written(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def of(role: str, **fields: Any) -> dict[str, Any]:
    known = {"planner": PLANNER, "executor": EXECUTOR}[role] | fields
    return {"form": "text", "tasks": {"math": {role: {k: v for k, v in known.items() if v is not None}}}}


FAULTS: list[tuple[Any, str]] = [
    ("form: [text", "no YAML in line 1: "),
    ("[]", "the file: must be a mapping of form, "),
    ({"form": "text"}, "tasks: is missing; add it"),
    ({"form": "prose", "tasks": {}}, "form: must be text or chat, is 'prose'"),
    ({"form": "text", "tasks": {}, "thinking": True}, "thinking: must be keep or strip, is True"),
    ({"form": "text", "tasks": {}, "system": "Be brief."}, "form: must be chat, since system and chat_template_kwargs"),
    ({"form": "text", "tasks": {}, "steps": 1}, "steps: no such field; "),
    ({"form": "text", "tasks": {"maths": {}}}, "tasks.maths: no such field; did you mean math?"),
    (of("planner", promt="a"), "tasks.math.planner.promt: no such field; did you mean prompt?"),
    (of("executor", with_reasoning=None), "tasks.math.executor.with_reasoning: is missing; add it"),
    (of("planner", prompt=3), "tasks.math.planner.prompt: must be text, is 3"),
    (of("planner", stop="x"), "tasks.math.planner.stop: must be a list of texts, such as ["),
    (of("planner", prompt="a\n{% if %}"), "tasks.math.planner.prompt: no Jinja2 template, line 2: "),
    (
        of("planner", prompt="{{ statment }}"),
        "tasks.math.planner.prompt: {{ statment }} is no variable here; did you mean statement?",
    ),
    (of("planner", prompt="{{ reasoning }}"), "tasks.math.planner.prompt: {{ reasoning }} is no variable here"),
    (of("planner", prompt="{{ example_test }}"), "tasks.math.planner.prompt: {{ example_test }} is no variable here"),
    ({"form": "text", "tasks": {}, "request": {"prompt": "a"}}, "request.opening: is missing; add it"),
]


@pytest.mark.parametrize(("content", "message"), FAULTS, ids=[message[:30] for _, message in FAULTS])
def test_a_fault_is_one_line_with_file_and_place(tmp_path: Path, content: Any, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: {message}") and "\n" not in str(caught.value)


def test_a_template_cannot_leave_its_sandbox(tmp_path: Path) -> None:
    path = written(tmp_path, of("planner", prompt="{{ statement.__class__.__mro__ }}"))
    role = read_prompts(path).role("math", "planner")
    with pytest.raises(DataError, match="cannot be rendered"):
        role.render("prompt", {"statement": "s"})


def test_an_unknown_preset_or_file_names_what_there_is() -> None:
    with pytest.raises(DataError, match="'fancy': there is no such preset; give chat, demo, plain or the path"):
        read_prompts("fancy")
    with pytest.raises(DataError, match="is no file; copy one of "):
        read_prompts("/no/such.yaml")


def test_the_general_presets_have_every_task_and_all_presets_are_sound() -> None:
    for name in presets():
        file = read_prompts(name)
        if name != "demo":
            assert set(file.roles) == {(task, role) for task in TASKS for role in ("planner", "executor")}
            assert file.request is not None


def test_a_copy_of_a_preset_is_the_same_prompts(tmp_path: Path) -> None:
    copy = written(tmp_path, prompt_path("chat").read_text())
    assert prompt_identity(copy) == prompt_identity("chat") == "chat"
    assert len(prompt_identity(written(tmp_path, of("planner")))) == 16
