"""Train a planner: ``python -m launch.train experiment=NAME key=value …``.

Everything that can be wrong is looked at first (configuration, data, run directory, resources), then Ray and the
actors come up, and the loop runs. Ctrl-C ends the run in order: the planner is saved and no process is left; a second
Ctrl-C ends it at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from launch.entry import INTERRUPTED, entry_point
from tracelift_ray.config.load import plain_config
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config

if TYPE_CHECKING:
    from tracelift_ray.tracking.tracker import Tracker
    from tracelift_ray.verification.verifier import SandboxReport


@entry_point("config")
def main(cfg: DictConfig) -> int:
    """Train, or with ``dry_run=true`` say what would be done."""
    run = to_run_config(cfg)
    if run.dry_run:
        from launch.plan import show_plan

        return show_plan(run)
    return asyncio.run(_train(run))


async def _train(run: RunConfig) -> int:
    from actors.runtime import connect, log_directory, probe_run_dir
    from actors.system import RaySystem, shutdown
    from launch.resume import checkpoint_to_resume
    from tracelift_ray.data.solution_check import sound_problems
    from tracelift_ray.data.sources import resolve_sources
    from tracelift_ray.demo.source import demo_problems, trace_checks
    from tracelift_ray.planning.resources import total_cpus
    from tracelift_ray.rl.assembly import (
        HeldOutEvaluation,
        build_rollout,
        build_scheduler,
        fitting_problems,
        has_code,
        system_settings,
    )
    from tracelift_ray.rl.loop import Interrupted, TrainingLoop
    from tracelift_ray.rl.rollout import PlannerExecutorSystem
    from tracelift_ray.tracking.run_dir import RunDirectory
    from tracelift_ray.tracking.tracker import Tracker

    directory = RunDirectory.create(run.run_dir)
    resumed = checkpoint_to_resume(run.resume, directory.checkpoints_path)
    sources = resolve_sources(run.data, run.seed, demo_problems)
    settings = system_settings(run)
    fitting = fitting_problems(sources.train, settings, run)
    fitting_heldout = fitting_problems(sources.heldout, settings, run)
    tracker = Tracker(run.tracking, directory, run.total_steps, plain_config(run), resumed.step if resumed else None)
    exit_code = 1
    if resumed is not None and resumed.step >= run.total_steps:
        tracker.message(
            f"{resumed.path} is the end of this run (total_steps={run.total_steps}); resume=never starts anew"
        )
        tracker.close(0)
        return 0
    try:
        for line in sources.report.lines():
            tracker.message(line)
        if fitting.too_long or fitting_heldout.too_long:
            counts = f"{fitting.too_long} train, {fitting_heldout.too_long} held-out problems"
            tracker.message(f"left out, prompt too long: {counts}")
        train, heldout = await sound_problems(
            run.data, run.sandbox, fitting.problems, fitting_heldout.problems, tracker.message
        )
        connect(run.cluster, total_cpus(run))
        probe_run_dir(directory)
        tracker.message(f"starting actors; their logs are in {log_directory()}")
        actors = RaySystem(run, code=has_code(train, heldout))
        await actors.start(str(resumed.learner_dir) if resumed else None)
        try:
            closing = note_sandboxes(await actors.verifier.describe(), tracker)
            system = PlannerExecutorSystem(actors.pools, settings)
            rollout = build_rollout(run, system)
            scheduler = build_scheduler(run, rollout, train)
            evaluation = HeldOutEvaluation(run, system, heldout, trace_checks(run.data))
            assert actors.learner is not None
            loop = TrainingLoop(
                run,
                actors.learner,
                actors.planner,
                scheduler,
                evaluation,
                rollout.faults,
                tracker,
                directory.checkpoints_path,
            )
            if resumed is not None:
                tracker.message(f"going on from {resumed.path}")
                loop.restore(resumed.state(), train)
            _on_interrupt(loop.interrupt)
            await loop.train()
            for line in closing:
                tracker.message(line)
            exit_code = 0
        except Interrupted:
            exit_code = INTERRUPTED
        finally:
            await actors.close()
    finally:
        shutdown()
        tracker.close(exit_code)
    return exit_code


def note_sandboxes(reports: Sequence[SandboxReport], tracker: Tracker) -> list[str]:
    """Say and note in which tiers programs run. Returns what is to be said again at the end of the run."""
    from tracelift_ray.verification.sandbox.probe import UNSAFE

    for report in reports:
        tracker.note("sandbox_tier", report.tier)
        for line in report.lines:
            tracker.message(line)
    unsafe = any(report.tier == UNSAFE for report in reports)
    return [f"the programs of this run ran without walls (sandbox.tier={UNSAFE})"] if unsafe else []


def _on_interrupt(interrupt: Any) -> None:
    """The first SIGINT or SIGTERM asks the loop to end; the next one ends the process as usual."""
    running = asyncio.get_running_loop()

    def ask() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            running.remove_signal_handler(each)
        interrupt()

    for each in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(each, ask)


if __name__ == "__main__":
    main()
