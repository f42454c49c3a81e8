"""All that a run has before its actors are started: its directory, the checkpoint that it goes on from, and its data.

What is wrong with directory, checkpoint or data files is known here, in the driver, before a single actor exists; and a
run that is refused has changed nothing in its directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.mixture import Mixture
from tracelift_ray.data.sources import Sources, first_problem, resolve_sources
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.rl.assembly import build_sampler, check_readable, fit_problems, fits, system_settings
from tracelift_ray.rl.continuing import notes_on_resume
from tracelift_ray.rl.system import SystemSettings
from tracelift_ray.tracking.run_dir import RunDirectory, set_aside
from tracelift_ray.training.checkpoint import Checkpoint, newest_complete, open_checkpoint
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class Found:
    """What ``find`` found: the run directory, the checkpoint to go on from, if any, and the data as they are.

    Attributes:
        notes: what was loaded, and what has changed since the checkpoint, in lines for people.
    """

    run: RunConfig
    directory: RunDirectory
    checkpoint: Checkpoint | None
    sources: Sources
    notes: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        """Whether no step is left to do from the checkpoint."""
        return self.checkpoint is not None and self.checkpoint.step >= self.run.total_steps


@dataclass(frozen=True)
class Preparation:
    """What ``prepare`` gives.

    Attributes:
        checkpoint: what the run goes on from; None: it starts from the beginning.
        settings: prompts and sampling.
        train, heldout: problems whose prompts fit.
        mixture: how the sources to train on are mixed, those without an end among them; None: by their sizes.
        notes: what was loaded and left out, and what has changed since the checkpoint, in lines for people.
    """

    run: RunConfig
    directory: RunDirectory
    checkpoint: Checkpoint | None
    settings: SystemSettings
    train: tuple[Problem, ...]
    heldout: tuple[Problem, ...]
    mixture: Mixture | None
    notes: tuple[str, ...]

    @property
    def generated(self) -> tuple[Problem, ...]:
        """The first problem of each source without an end. Raises DataError where one has none of use."""
        return () if self.mixture is None else tuple(stream.first for stream in self.mixture.streams.values())

    @property
    def step(self) -> int | None:
        """The step that the run goes on from."""
        return None if self.checkpoint is None else self.checkpoint.step

    def accept(self, train: Sequence[Problem]) -> None:
        """The start is accepted with these problems to train on: the run directory becomes that of this start.

        Checkpoints that ``resume=never`` passes over are set aside under a number, so that a later ``auto`` goes on
        from this start's own.

        Raises:
            DataError: the checkpoint is that of other problems.
        """
        if self.checkpoint is not None:
            build_sampler(self.run, train, self.mixture).restore(self.checkpoint.state()["stream"]["sampler"])
        if self.run.resume == "never":
            set_aside(self.directory.checkpoints_path)
        prompts = {"planner": self.settings.planner_prompts, "executor": self.settings.executor_prompts}
        self.directory.keep_prompts({role: renderer.file.source for role, renderer in prompts.items()})


def find(run: RunConfig) -> Found:
    """Open the run directory and load the data; ``with_prompts`` comes next.

    Raises:
        ConfigError: a setting would make another run of the one that the checkpoint is of.
        DataError: a data file or the checkpoint is unusable.
    """
    directory = RunDirectory.create(run.run_dir)
    checkpoint = checkpoint_to_resume(run.resume, directory.checkpoints_path)
    changed = () if checkpoint is None else notes_on_resume(run, checkpoint.path)
    sources = resolve_sources(run.data, run.seed, demo_problems)
    return Found(run, directory, checkpoint, sources, changed + sources.report.lines())


def with_prompts(found: Found) -> Preparation:
    """Load the prompt files and the tokenizers, and keep the problems whose prompts fit; ``accept`` comes next.

    Raises:
        DataError: a prompt file or a tokenizer is unusable or does not know the words of the problems, a task of the
            data has no prompt, or no problem is left.
    """
    run, sources = found.run, found.sources
    settings = system_settings(run)
    train, heldout = fit_problems(sources.train, settings, run), fit_problems(sources.heldout, settings, run)
    for key, some in (("data.train", train), ("data.heldout", heldout)):
        check_readable(key, some.problems, settings)
    mixture = sources.mixture and sources.mixture.where(lambda problem: fits(problem, settings, run))
    notes = found.notes
    if train.too_long or heldout.too_long:
        notes += (f"left out, prompt too long: {train.too_long} train, {heldout.too_long} held-out problems",)
    return Preparation(
        run, found.directory, found.checkpoint, settings, train.problems, heldout.problems, mixture, notes
    )


def prepare(run: RunConfig) -> Preparation:
    """``find`` and ``with_prompts`` in one."""
    return with_prompts(find(run))


def prompt_lines(run: RunConfig) -> list[str]:
    """One prompt of planner and executor for people: those of the first problem, with a stand-in for the trace.

    Raises:
        DataError: the data, a prompt file or a tokenizer is unusable.
    """
    problem, settings = first_problem(run.data, run.seed, demo_problems), system_settings(run)
    check_readable("data.train", (problem,), settings)
    shown = {
        "planner": settings.planner_prompts.planner(problem),
        "executor": settings.executor_prompts.executor(problem, "(the trace)"),
    }
    lines = []
    for role, prompt in shown.items():
        lines.append(f"{role}, problem {problem.id}, {len(prompt.token_ids)} tokens:")
        lines += [f"  | {line}" for line in prompt.text.split("\n")]
    return lines


def checkpoint_to_resume(resume: str, directory: Path) -> Checkpoint | None:
    """The checkpoint that ``resume`` names: ``auto`` the newest complete one, if any; ``never`` none; else a path.

    Raises:
        CheckpointError: the path is no complete checkpoint.
    """
    if resume == "never":
        return None
    return newest_complete(directory) if resume == "auto" else open_checkpoint(Path(resume))
