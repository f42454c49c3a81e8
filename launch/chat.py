"""Talks to a planner: ``tracelift chat checkpoint=runs/quickstart/checkpoints/step-000040``.

Type a problem, or ``problem ||| reference``: the trace streams, then come the executor's answers with and without it,
the verdicts where there is a reference, and the rubric where there is a reasoning RM. Lines of a pipe do as well. All
models are loaded in this process, without Ray. See docs/commands.md.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from omegaconf import DictConfig, OmegaConf

from launch.checkpoint_config import check_given, existing, keep_prompts, planner_of, run_configuration
from launch.entry import entry_point
from tracelift_ray.chat.typed import harmless, next_line, own_stdin
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.rules import OneOf, PositiveCount
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.errors import DataError
from tracelift_ray.planning.checkpoints import check_checkpoint
from tracelift_ray.planning.run_config import to_run_config

if TYPE_CHECKING:
    from tracelift_ray.chat.session import Answers, ChatSession
    from tracelift_ray.types import Problem, RubricScore, Trace

_PROMPT, _ASK_REFERENCE = "problem> ", "reference (Enter: none)> "


@dataclass(frozen=True)
class ChatConfig:
    """Which planner, and how it is asked."""

    checkpoint: str
    task: Annotated[str, OneOf("tracelift_ray.tasks.table:TASKS")]  # of problems that are typed as text
    answers: PositiveCount
    greedy: bool


KEYS = frozenset(ChatConfig.__dataclass_fields__)


@entry_point("chat")
def main(cfg: DictConfig) -> int:
    """Load, then answer line by line until the input ends; 2 where a line of a pipe was no problem."""
    check_given(cfg)
    config = to_dataclass(ChatConfig, OmegaConf.masked_copy(cfg, list(KEYS)))
    return asyncio.run(_chat(chat_run(cfg, existing(config.checkpoint)), config))


def chat_run(cfg: DictConfig, checkpoint: Path) -> RunConfig:
    """The configuration with that checkpoint as planner; neither data nor the run's machines need be here.

    Raises:
        ConfigError: a model is missing, or a value is wrong.
    """
    base, planner = run_configuration(checkpoint, cfg, KEYS), planner_of(checkpoint)
    if base is None:
        base = cfg
        keep_prompts(base, planner)
    OmegaConf.update(base, "planner.model", str(planner))
    OmegaConf.update(base, "dry_run", True)  # the pools of the run need not fit this machine
    if OmegaConf.is_missing(base["data"], "train"):
        base["data"]["train"] = []
    run = to_run_config(base, extra=KEYS, trains=False, files=False)
    check_checkpoint("planner.model", run.planner.model)
    if not run.executor.model:
        raise ConfigError("executor.model", run.executor.model, "is needed: what the trace is for")
    check_checkpoint("executor.model", run.executor.model, weights=not is_remote(run.executor.engine))
    return run


async def _chat(run: RunConfig, config: ChatConfig) -> int:
    from tracelift_ray.chat.lines import SEPARATOR, is_record, read_problem
    from tracelift_ray.chat.session import opened

    asked = failed = 0
    async with opened(run, config.answers, config.greedy, _note) as session:
        typed, lines = sys.stdin.isatty(), own_stdin()
        if typed:
            _note(f"type a {config.task} problem, or: problem {SEPARATOR} reference; Ctrl-D ends")
        while (line := await _read(lines, _PROMPT if typed else "")) is not None:
            if not line:
                continue
            if typed and SEPARATOR not in line and not is_record(line):
                line += f" {SEPARATOR} {await _read(lines, _ASK_REFERENCE) or ''}"
            asked += 1
            try:
                await answer(session, read_problem(line, config.task, asked))
            except (DataError, ValueError) as error:  # of this problem alone; the next may do
                failed += 1
                print(f"error: {error}", file=sys.stderr, flush=True)
    return 2 if failed and not typed else 0


async def answer(session: ChatSession, problem: Problem) -> None:
    """Ask everything about one problem, and print it as it comes."""
    print(f"\nproblem  {harmless(problem.statement)}\ntrace    ", end="", flush=True)
    trace = await session.trace(problem, lambda piece: print(harmless(piece), end="", flush=True))
    print(flush=True)
    without = await session.execute(problem, None)
    if trace.reasoning is None:
        print(f"         malformed ({trace.malformed}), so the executor does not see it")
        _show_answers("without", without)
        return
    given = await session.execute(problem, trace.reasoning)
    _show_answers("with", given)
    _show_answers("without", without)
    _show_sum(session, problem, trace, given, without)
    rubric = await session.rubric(problem, trace.reasoning)
    if rubric is not None:
        _show_rubric(problem, rubric)


def _show_answers(how: str, answers: Answers) -> None:
    """Equal answers once, with how often they came and what the verdict is."""
    outcomes: list[str] = [verdict.outcome for verdict in answers.verdicts] or [""] * len(answers.artifacts)
    counted: dict[tuple[str, str], int] = {}
    for artifact, outcome in zip(answers.artifacts, outcomes, strict=True):
        key = ("nothing" if artifact.content is None else artifact.content, outcome)
        counted[key] = counted.get(key, 0) + 1
    for number, ((content, outcome), count) in enumerate(counted.items()):
        text = harmless(content).replace("\n", "\n" + " " * 14)
        print(f"{how if number == 0 else '':<9}{count} x  {text}{f'   {outcome}' if outcome else ''}", flush=True)


def _show_sum(session: ChatSession, problem: Problem, trace: Trace, given: Answers, without: Answers) -> None:
    assert trace.reasoning is not None
    if given.success is not None and without.success is not None:
        leak = "; the trace gives the answer away" if session.leaks(problem, trace.reasoning) else ""
        print(
            f"uplift   {given.success - without.success:+.2f}: success {given.success:.2f} with the trace, "
            f"{without.success:.2f} without{leak}"
        )


def _show_rubric(problem: Problem, rubric: RubricScore) -> None:
    from tracelift_ray.tasks.table import task_of

    names = task_of(problem.task).dimensions if rubric.labels else ()
    labels = ", ".join(f"{name} {label:.1f}" for name, label in zip(names, rubric.labels, strict=True))
    print(f"rubric   score {rubric.score:.2f}{f' (0 to 4: {labels})' if labels else ''}", flush=True)


async def _read(lines: BinaryIO, prompt: str) -> str | None:
    """The next line, stripped; None where the input ends."""
    print(prompt, end="", flush=True)
    return await next_line(lines)


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
