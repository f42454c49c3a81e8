"""Makes the demo's checkpoints: ``python -m tracelift_ray.demo.make_checkpoints --out DIR``.

The executor learns to follow traces, right or wrong, and to solve only the shortest problems without one. The planner
starts from the executor and learns to write traces with the habits of ``flaws.habitual_lines``. The reasoning RM
starts from the executor too and is made deeper. All three are seeded; about 25 minutes on one core.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch

from tracelift_ray.demo.flaws import KINDS, habitual_lines, perturb
from tracelift_ray.demo.tokenizer import EOS, build_tokenizer
from tracelift_ray.demo.traces import Line, artifact_of, clean_lines, render
from tracelift_ray.demo.training import Part, Recipe, fit, new_language_model
from tracelift_ray.demo.world import DEMO_TASKS, TASK_WORLDS, WordProblem, draw_problem

EXECUTOR_RECIPE = Recipe(steps=1000, rows_per_step=64, lr=2e-3, warmup_steps=50)
PLANNER_RECIPE = Recipe(steps=200, rows_per_step=64, lr=1e-3, warmup_steps=20)
#: Shares of the executor's rows: without a trace, with the clean trace; the rest has a flawed one.
BARE_SHARE, CLEAN_SHARE = 0.2, 0.55
#: Numbers of steps in rows with a trace.
TRACED_STEPS = (1, 2, 3, 3, 4)


def executor_row(rng: Random) -> list[Part]:
    """One training row of the executor; the artifact is always what follows from what the row shows."""
    task = rng.choice(DEMO_TASKS)
    kind = rng.random()
    if kind < BARE_SHARE:
        problem = draw_problem(rng, task, "train", rng.choice(TASK_WORLDS[task].bare_steps))
        return [_head(problem), *_answer(artifact_of(task, clean_lines(problem)))]
    while True:
        problem = draw_problem(rng, task, "train", rng.choice(TRACED_STEPS))
        clean = kind < BARE_SHARE + CLEAN_SHARE
        lines = clean_lines(problem) if clean else perturb(problem, rng.choice(KINDS), rng)
        artifact = None if lines is None else artifact_of(task, lines)
        if lines is not None and artifact is not None:
            return [_head(problem), *_trace(task, lines, clean), *_answer(artifact)]


def planner_row(rng: Random) -> list[Part]:
    """One training row of the planner: a problem and a trace with the planner's habits."""
    task = rng.choice(DEMO_TASKS)
    problem = draw_problem(rng, task, "train")
    return [_head(problem), *_trace(task, habitual_lines(problem, rng), True)]


def _head(problem: WordProblem) -> Part:
    return Part(f"<{problem.task}> {problem.statement}", False)


def _trace(task: str, lines: Sequence[Line], learned: bool) -> list[Part]:
    return [Part("<reasoning>", False), Part(f"{render(task, lines)} </reasoning>", learned)]


def _answer(artifact: str | None) -> list[Part]:
    return [Part("<answer>", False), Part(f"{artifact} {EOS}", True)]


def make_executor(out: Path) -> None:
    """Trains the executor from scratch."""
    torch.manual_seed(0)
    rng = Random(0)
    model = new_language_model()
    fit(model, lambda: executor_row(rng), EXECUTOR_RECIPE)
    _save(model, out / "executor")


def make_planner(out: Path) -> None:
    """Trains the planner from the executor in ``out``."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    rng = Random(1)
    model = AutoModelForCausalLM.from_pretrained(out / "executor", dtype=torch.float32)
    fit(model, lambda: planner_row(rng), PLANNER_RECIPE)
    _save(model, out / "planner")


def make_reasoning_rm(out: Path) -> None:
    """Trains the reasoning RM, whose first layers start from the executor in ``out``."""
    from tracelift_ray.demo.rm_training import train_reasoning_rm

    _save(train_reasoning_rm(out / "executor"), out / "reasoning_rm")


def _save(model: Any, directory: Path) -> None:
    model.save_pretrained(directory)
    build_tokenizer().save_pretrained(directory)
    logging.getLogger(__name__).info("saved %s", directory)


MAKERS = {"executor": make_executor, "planner": make_planner, "reasoning_rm": make_reasoning_rm}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the checkpoints of the demo world.")
    parser.add_argument("--out", type=Path, required=True, help="directory that gets one folder per model")
    parser.add_argument("--only", choices=MAKERS, help="make one; planner and reasoning_rm need the executor in --out")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    for name in (options.only,) if options.only else tuple(MAKERS):
        MAKERS[name](options.out)


if __name__ == "__main__":
    main()
