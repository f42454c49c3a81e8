"""The model card of a trained planner: what it was trained from and by, what it was measured at, how to prompt it.

``card_files`` gives the files that are saved beside the weights: ``README.md``, a card in the form of Hugging Face, and
``prompt.yaml``, the prompt file that the planner was trained with, as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.plan import heldout_name, reward_lines, rm_name

CARD, PROMPT = "README.md", "prompt.yaml"
#: Half the width of a 95 % interval, in standard errors.
Z_95 = 1.96
#: What is reported of each task: a label and the metric's name.
FIGURES = (
    ("accuracy with the trace", "accuracy"),
    ("accuracy without", "baseline"),
    ("uplift", "uplift"),
    ("trace validity", "trace_validity"),
    ("rubric score", "rm_score"),
    ("malformed traces", "malformed"),
    ("answer leaks", "leak"),
)


def card_files(
    run: RunConfig,
    tasks: Sequence[str],
    prompt: str,
    code: str,
    step: int,
    evaluated: tuple[int, Mapping[str, float]] | None,
) -> dict[str, str]:
    """The files by name.

    Args:
        tasks: those of the problems that it was trained on.
        prompt: the text of its prompt file.
        code: the version of this project.
        step: how many steps it was trained for.
        evaluated: the last evaluation's step and metrics; None: there was none.
    """
    training = _origin(run, step, code), _reward(run, tasks)
    parts = (_head(run, step), *training, _figures(run, evaluated), _use(run, prompt, tasks))
    return {CARD: "\n\n".join(parts) + "\n", PROMPT: prompt}


def _head(run: RunConfig, step: int) -> str:
    front = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["tracelift-ray", "planner"]}
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# {run.name}, step {step}\n\n"
        "A planner: it reads a problem and writes a reasoning trace, without the final answer or code, for another "
        "model to solve the problem with."
    )


def _origin(run: RunConfig, step: int, code: str) -> str:
    learner, algorithm = run.learner, run.algorithm
    rows = {
        "trained from": run.planner.model,
        "version of the code": code,
        "steps": f"{step} of {run.total_steps}",
        "traces a step": f"{algorithm.groups_per_step} groups of {algorithm.group_size}",
        "learning rate": f"{learner.lr:g}",
        "weights": f"adapters (LoRA), rank {learner.lora.rank}" if learner.lora.rank else "all",
        "problems": ", ".join(run.data.train),
        "executor": run.executor.model,
        "reasoning reward model": rm_name(run),
        "seed": str(run.seed),
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["## Training", "", "| | |", "|---|---|", *lines])


def _reward(run: RunConfig, tasks: Sequence[str]) -> str:
    return "\n".join(["## Reward", "", "```", *reward_lines(run.reward, tasks), "```"])


def _figures(run: RunConfig, evaluated: tuple[int, Mapping[str, float]] | None) -> str:
    if evaluated is None:
        return "## Figures\n\nIt was not evaluated."
    step, metrics = evaluated
    tasks = sorted({name.split("/")[1] for name in metrics if name.startswith("evaluation/")})
    rows = [f"| {label} | {' | '.join(cells)} |" for label, cells in _rows(tasks, metrics)]
    head = [f"| | {' | '.join(tasks)} |", f"|---|{'---|' * len(tasks)}"]
    said = (
        f"After step {step}, on at most {run.evaluation.problems} held-out problems of each task "
        f"({heldout_name(run)}), ± half of a 95 % interval where it is known:"
    )
    return "\n".join(["## Figures", "", said, "", *head, *rows])


def _rows(tasks: Sequence[str], metrics: Mapping[str, float]) -> Iterator[tuple[str, list[str]]]:
    for label, name in FIGURES:
        names = [f"evaluation/{task}/{name}" for task in tasks]
        if any(each in metrics for each in names):
            yield label, [_figure(metrics.get(each), metrics.get(f"{each}_stderr")) for each in names]


def _figure(value: float | None, error: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {Z_95 * error:.3f}"


def _use(run: RunConfig, prompt: str, tasks: Sequence[str]) -> str:
    sampling, file = run.planner.sampling, yaml.safe_load(prompt)
    shown = {task: file["tasks"][task]["planner"] for task in tasks if "planner" in file["tasks"].get(task, {})}
    turn = "a user turn of the tokenizer's chat template" if file["form"] == "chat" else "the text as it stands"
    executor = "" if run.executor.prompt == run.planner.prompt else f" executor.prompt={run.executor.prompt}"
    return (
        f"## How to prompt it\n\nThe prompt is {turn}, with `opening` behind it; what it writes up to `</reasoning>` "
        f"is the trace. It was trained at temperature {sampling.temperature:g}, top_p {sampling.top_p:g}, with at most "
        f"{sampling.max_new_tokens} new tokens. `{PROMPT}` is the whole prompt file, the executor's part included.\n\n"
        f"```yaml\n{_yaml(shown)}```\n\nTransformers and vLLM load this directory, as a model or, where it holds "
        "`adapter_config.json`, as an adapter of the model that it names. In tracelift-ray `python -m launch chat "
        f"checkpoint=DIR executor.model=EXECUTOR{executor}` shows its traces with these prompts; DIR is this directory."
    )


def _yaml(shown: Mapping[str, Any]) -> str:
    return yaml.dump(dict(shown), Dumper=_Readable, sort_keys=False, allow_unicode=True, width=1000)


class _Readable(yaml.SafeDumper):
    """Texts of several lines as they are read, and what tasks share once for each."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text.strip() else None
    ),
)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
