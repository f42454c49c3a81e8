"""Whole runs on the real stack that are interrupted or lose an engine."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from tests.hang import HANG_S
from tests.integration.training_runs import LIGHT, Started, outlives_an_engine, records


def test_a_run_outlives_its_only_engine_and_an_interrupt_saves_the_planner_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    """vLLM is killed between the traces of a step and their broadcast; then Ctrl-C.

    Weights go through Ray's object store, whose receipts carry the learner's checksum.
    """
    overrides = ("total_steps=1000", "evaluation.problems=0", "stream.weight_transfer=object_store", "reward=exec_only")
    with Started(tmp_path, *overrides) as run:
        run.wait_for_steps(2)
        (engine,), (learner,) = run.processes_named("EngineCore"), run.processes_named("LearnerActor")
        os.kill(learner, signal.SIGSTOP)  # held in its update, after all traces of a step and before the broadcast
        time.sleep(5)
        os.kill(engine, signal.SIGKILL)
        os.kill(learner, signal.SIGCONT)
        run.wait_for_steps(5)
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
        output, _ = run.process.communicate(timeout=HANG_S)
        assert run.process.returncode == 130, output
        assert "Traceback" not in output, output
        # The engine that was killed above, and no member by the interrupt.
        assert re.findall(r"(\w+\[\d+\]) is lost", output) == ["planner[0]"], output
        end, _, faults = output.partition("interrupted after step")[2].partition("faults since this start: ")
        assert end and "died" not in end and faults.strip() == "planner/died 1", output
        ends = time.monotonic() + HANG_S
        while run.processes() and time.monotonic() < ends:
            time.sleep(0.2)
        assert run.processes() == {}
    steps = records(tmp_path, "training")
    assert [record["step"] for record in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["stream/version"] > steps[1]["stream/version"]
    # A trace of other weights than the learner's would show here.
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < 1e-3
    assert (tmp_path / "checkpoints" / f"step-{len(steps):06d}" / "planner" / "model.safetensors").is_file()


def test_an_engine_that_dies_before_a_collective_broadcast_costs_only_that_engine(tmp_path: Path) -> None:
    """Two engines over gloo, two ranks that divide the weights: the engine that lives meets them in a new channel."""
    ranks = ("learner.num_workers=2", "learner.zero_stage=3")
    collective = ("stream.weight_transfer=collective", "planner.pool.workers=2")
    outlives_an_engine(tmp_path, "PlannerActor", LIGHT, "reward=exec_only", *ranks, *collective)
