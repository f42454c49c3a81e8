"""The card that is saved beside a planner's weights."""

from __future__ import annotations

import re
from dataclasses import replace

import yaml

from tests.configs import run_config
from tracelift_ray.planning.model_card import card_files
from tracelift_ray.tasks.presets import presets, prompt_path

EVALUATED = (
    40,
    {
        "evaluation/math/accuracy": 0.9,
        "evaluation/math/accuracy_stderr": 0.02,
        "evaluation/math/uplift": 0.4,
        "evaluation/math/trace_validity": 0.8,
        "evaluation/math/trace_validity_stderr": 0.05,
        "evaluation/code/accuracy": 0.5,
        "evaluation/code/uplift": 0.1,
        "evaluation/code/uplift_stderr": 0.03,
        "time/step_s": 2.0,
    },
)


def card(evaluated: tuple[int, dict[str, float]] | None = EVALUATED, prompt: str = "plain") -> str:
    text = prompt_path(prompt).read_text("utf-8")
    files = card_files(run_config(), ("math", "code"), text, "abc123", 50, evaluated)
    assert files["prompt.yaml"] == text and files.keys() == {"README.md", "prompt.yaml"}
    return files["README.md"]


def test_a_card_says_from_what_for_what_and_how_well() -> None:
    run, text = run_config(), card()
    assert yaml.safe_load(text.split("---\n")[1])["library_name"] == "transformers"
    for part in (
        f"# {run.name}, step 50",
        f"| trained from | {run.planner.model} |",
        "| version of the code | abc123 |",
        "math: R = ",
        "code: R = ",
        f"| reasoning reward model | {run.reasoning_rm.model} |",
        f"After step 40, on at most {run.evaluation.problems} held-out problems of each task (demo:math demo:code)",
        "| accuracy with the trace | 0.500 | 0.900 ± 0.039 |",
        "| uplift | 0.100 ± 0.059 | 0.400 |",
        "| trace validity |  | 0.800 ± 0.098 |",
    ):
        assert part in text, part
    assert "rubric score" not in text


def test_without_an_evaluation_there_are_no_figures() -> None:
    assert "It was not evaluated" in card(None)


def test_the_prompt_of_each_task_can_be_read_from_the_card() -> None:
    for prompt in presets():
        assert "&id" not in card(prompt=prompt)
        (block,) = re.findall(r"```yaml\n(.*?)```", card(prompt=prompt), flags=re.DOTALL)
        tasks = yaml.safe_load(prompt_path(prompt).read_text("utf-8"))["tasks"]
        assert yaml.safe_load(block) == {task: tasks[task]["planner"] for task in ("math", "code")}


def test_the_card_names_an_executor_s_prompts_that_are_not_the_planner_s() -> None:
    assert "executor.model=EXECUTOR` shows" in card()
    run = replace(run_config(), executor=replace(run_config().executor, prompt="chat"))
    text = card_files(run, ("math",), prompt_path("plain").read_text("utf-8"), "x", 1, None)["README.md"]
    assert "executor.model=EXECUTOR executor.prompt=chat` shows" in text


def test_a_name_with_a_bar_stays_in_its_cell() -> None:
    run = replace(run_config(), planner=replace(run_config().planner, model="/a|b"))
    text = card_files(run, ("math",), prompt_path("plain").read_text("utf-8"), "x", 1, None)["README.md"]
    assert "| trained from | /a\\|b |" in text
