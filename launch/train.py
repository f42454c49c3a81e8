"""Train a planner: ``python -m launch.train experiment=NAME key=value …``.

Configuration, run directory and data are looked at first. Then Ray and the actors start beside the rendering of prompts
and the check of solutions, and once both are through the loop runs. Ctrl-C ends the run in order: the planner is saved
and no process is left; a second Ctrl-C ends it at once (``stopping`` has all signals).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from omegaconf import DictConfig

from launch.entry import FAILED, INTERRUPTED, entry_point
from tracelift_ray.config.load import plain_config
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config

if TYPE_CHECKING:
    from actors.head import HeadWatch
    from actors.system import RaySystem
    from launch.starting import EnteredBeside, Voice
    from launch.stopping import Signals
    from tracelift_ray.rl.preparation import Found, Preparation
    from tracelift_ray.tracking.tracker import MetricSink, Tracker
    from tracelift_ray.types import Problem
    from tracelift_ray.verification.code_runner import RunnerReport


#: Seconds in which reports must be finished where the cluster is gone.
LEAVE_S = 10.0


@entry_point("config")
def main(cfg: DictConfig) -> int:
    """Train, or with ``dry_run=true`` say what would be done."""
    run = to_run_config(cfg)
    if run.dry_run:
        return _show_plan(run)
    try:
        return asyncio.run(_train(run))
    except asyncio.CancelledError:  # ended while it started
        raise KeyboardInterrupt from None


def _show_plan(run: RunConfig) -> int:
    """Print the plan; 1 where there is too little for it, else 0."""
    from actors.runtime import cluster_resources
    from tracelift_ray.planning.plan import fit, render_plan
    from tracelift_ray.rl.preparation import prompt_lines
    from tracelift_ray.tracking.alive import heartbeat

    with heartbeat(_say(run), "looking at the machines") as beat:
        resources = cluster_resources(run)
        beat.doing("fitting the run into them")
        found = fit(run, resources)
        beat.doing("rendering prompts")
        plan = render_plan(run, resources, prompt_lines(run), found)
    print(plan)
    return 1 if found.lacking else 0


async def _train(run: RunConfig) -> int:
    """Prepare, with the system starting beside it; run; take everything down."""
    from actors.runtime import connecting
    from launch.starting import Voice, entered_beside
    from launch.stopping import heeding_signals
    from tracelift_ray.planning.resources import total_cpus
    from tracelift_ray.rl.preparation import find
    from tracelift_ray.tracking.alive import heartbeat
    from tracelift_ray.tracking.run_lock import only_run

    say = _say(run)
    with only_run(Path(run.run_dir), say), heeding_signals() as signals:
        with heartbeat(say, "reading problems"):
            found = find(run)
        voice = Voice(say)
        with contextlib.ExitStack() as ending, connecting(run.cluster, total_cpus(run)) as connect:
            async with entered_beside(_system(run, found, signals, connect, voice)) as starting:
                try:
                    return await _prepared(run, found, starting, signals, voice, say)
                finally:
                    ending.enter_context(heartbeat(say, "ending actors and Ray"))


async def _prepared(
    run: RunConfig,
    found: Found,
    starting: EnteredBeside[tuple[RaySystem, HeadWatch]],
    signals: Signals,
    voice: Voice,
    say: Callable[[str], None],
) -> int:
    """Render prompts and check solutions while the system starts; run."""
    from tracelift_ray.data.solution_check import sound_problems
    from tracelift_ray.rl.preparation import with_prompts
    from tracelift_ray.tracking.alive import heartbeat
    from tracelift_ray.tracking.tracker import Tracker

    if not found.is_over:
        starting.begin()
    with heartbeat(say, "rendering prompts"):
        prepared = await asyncio.to_thread(with_prompts, found)
    for line in prepared.notes:
        say(line)
    train, heldout = await sound_problems(run.data, run.sandbox, prepared.train, prepared.heldout, say)
    prepared.accept(train)
    sinks = _sinks(run, say)
    tracker = Tracker(run.tracking, prepared.directory, run.total_steps, plain_config(run), prepared.step, sinks)
    voice.tracker = tracker
    exit_code = FAILED
    try:
        exit_code = await _run(run, prepared, train, heldout, tracker, signals, starting)
    finally:
        tracker.close(exit_code)
    return exit_code


def _sinks(run: RunConfig, say: Callable[[str], None]) -> Sequence[MetricSink]:
    """Places for metrics that the library does not know."""
    if not run.tracking.prometheus:
        return ()
    from actors.prometheus import PrometheusSink

    return (PrometheusSink(run.name, say),)


async def _run(
    run: RunConfig,
    prepared: Preparation,
    train: tuple[Problem, ...],
    heldout: tuple[Problem, ...],
    tracker: Tracker,
    signals: Signals,
    starting: EnteredBeside[tuple[RaySystem, HeadWatch]],
) -> int:
    from actors.lives import SystemLives
    from launch.stopping import short_grace
    from tracelift_ray.garbage import settle
    from tracelift_ray.rl.lives import train as lives_of_learner
    from tracelift_ray.rl.requests import Interrupted
    from tracelift_ray.rl.watchdog import Watchdog
    from tracelift_ray.tracking.alive import alive

    if prepared.checkpoint is not None and _is_over(run, prepared.checkpoint.step, tracker):
        at = prepared.checkpoint.path
        tracker.message(f"{at} is the end of this run (total_steps={run.total_steps}); resume=never starts it again")
        return 0
    if warning := short_grace(os.environ):
        tracker.message(warning)
    system, head = await starting.entered()
    warnings = note_sandboxes(await system.verifier.describe(), tracker)
    lives = SystemLives(run, prepared, system, train, heldout, tracker)
    signals.serve(lives.requests)
    settle()
    try:
        watchdog = Watchdog(lives.snapshot, run.tracking.quiet_s, asyncio.get_running_loop().time)
        async with alive(tracker.progress, lives.standing), alive(tracker.message, watchdog.line):
            await lives_of_learner(lives, prepared.checkpoint, run.learner.restarts)
    except Interrupted:
        return INTERRUPTED
    finally:
        head.saved()
        note_faults(system.metrics(), lives.rollout.faults, tracker)
    for line in warnings:
        tracker.message(line)
    return 0


def _leave(voice: Voice, cause: str) -> NoReturn:
    """End the process without Ray, which would not come to an end."""
    print(f"error: {cause}", file=sys.stderr, flush=True)
    if voice.tracker is not None:
        closing = threading.Thread(target=voice.tracker.close, args=(FAILED,), daemon=True)
        closing.start()
        closing.join(LEAVE_S)
    os._exit(FAILED)


def _say(run: RunConfig) -> Callable[[str], None]:
    """Prints a line, where the console is on."""
    return partial(print, flush=True) if run.tracking.console else _say_nothing


def _say_nothing(line: str) -> None:
    """Where the console is off."""


def _is_over(run: RunConfig, step: int, tracker: Tracker) -> bool:
    """Whether nothing is left to do after ``step``; an interrupt may have ended the run before its last evaluation."""
    return step > run.total_steps or (step == run.total_steps and tracker.has_evaluation(step))


@contextlib.asynccontextmanager
async def _system(
    run: RunConfig, found: Found, signals: Signals, connect: Callable[[], None], voice: Voice
) -> AsyncIterator[tuple[RaySystem, HeadWatch]]:
    """All actors, up inside the ``async with``, once Ray is; the learner goes on from the checkpoint."""
    from actors.head import watched_head
    from actors.runtime import log_places, probe_run_dir
    from actors.system import running_system
    from tracelift_ray.tracking.alive import alive

    checkpoint = None if found.checkpoint is None else str(found.checkpoint.learner_dir)
    doing = "starting Ray" if run.cluster.address == "local" else f"joining Ray at {run.cluster.address}"
    voice.message(doing)
    async with alive(voice.progress, lambda: doing):
        await asyncio.to_thread(connect)
        signals.hear()
        doing = f"waiting until every node has looked at {found.directory.path}"
        await probe_run_dir(found.directory)
    voice.message(f"starting actors; {log_places()}")
    problems = (*found.sources.train, *found.sources.heldout)
    with watched_head(signals.stop_soon, partial(_leave, voice)) as head:
        async with running_system(run, problems, checkpoint=checkpoint, say=voice.progress) as system:
            yield system, head


def note_sandboxes(reports: Sequence[RunnerReport], tracker: Tracker) -> list[str]:
    """Say and note in which tiers programs run. Returns what is to be said again at the end of the run."""
    from tracelift_ray.verification.sandbox.tiers import UNSAFE

    for report in reports:
        tracker.note("sandbox_tier", report.where)
        for line in report.lines:
            tracker.message(line)
    unsafe = not all(report.isolated for report in reports)
    return [f"the programs of this run ran without isolation (sandbox.tier={UNSAFE})"] if unsafe else []


def note_faults(metrics: Mapping[str, float], failed: Mapping[str, int], tracker: Tracker) -> None:
    """Say and note what was lost since this start: members by pool and kind, nodes, and results that no retry gave."""
    lost = {name.removeprefix("faults/"): int(count) for name, count in metrics.items() if name.startswith("faults/")}
    text = ", ".join(f"{name} {count}" for name, count in {**lost, **failed}.items() if count)
    tracker.note("faults", text or "none")
    if text:
        tracker.message(f"faults since this start: {text}")


if __name__ == "__main__":
    main()
