"""Runs learner ranks as processes on loopback: ``run_ranks`` in a test, and the ranks' side of it as a module.

Each rank joins one process group and then runs a list of cases in it, one learner after the other.
"""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracelift_ray.config.schema import AlgorithmConfig, LearnerConfig
from tracelift_ray.types import TrainBatch, TrainSample


@dataclass(frozen=True)
class Case:
    """One learner's life: load, perhaps restore, update on each batch, perhaps save."""

    name: str
    learner: LearnerConfig
    algorithm: AlgorithmConfig
    model: str
    batches: tuple[TrainBatch, ...]
    temperature: float = 0.8
    top_p: float = 1.0
    total_steps: int = 10
    load_from: str | None = None
    save_to: str | None = None
    save_planner_to: str | None = None
    scored: tuple[TrainSample, ...] = ()
    send: bool = False
    abandon_after: int = 0  # micro-batches of the last update after which rank 0 abandons it; 0: it does not
    file_limit: int = 0  # bytes that any file saved may have; 0: no limit


@dataclass
class Outcome:
    """What rank 0 saw: metrics per batch, full weights, specs, version, scores; or the error that ended the case."""

    metrics: list[Any] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)
    specs: tuple[Any, ...] = ()
    version: int = 0
    sent: list[Any] = field(default_factory=list)
    scores: tuple[tuple[float, ...], ...] = ()
    error: str | None = None


def run_ranks(world_size: int, cases: list[Case], folder: Path, deadline_s: float = 300.0) -> dict[str, Outcome]:
    """Run ``cases`` on ``world_size`` processes; outcomes by case name. Fails with the ranks' output."""
    from tracelift_ray.training.ranks import free_port

    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "cases.pkl").write_bytes(pickle.dumps(cases))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    processes, logs = [], []
    for rank in range(world_size):
        logs.append(folder / f"rank-{rank}.log")
        with logs[-1].open("w") as log:
            command = [sys.executable, "-m", __name__, str(folder), str(rank), str(world_size), str(port)]
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment))
    try:
        codes = [process.wait(timeout=deadline_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    output = "\n".join(f"--- {log.name}\n{log.read_text()[-4000:]}" for log in logs)
    assert codes == [0] * world_size, f"exit codes {codes}\n{output}"
    return pickle.loads((folder / "outcomes.pkl").read_bytes())


def _run_case(case: Case, place: Any) -> Outcome:
    from tracelift_ray.rl.learner import Learner
    from tracelift_ray.training.logprobs import Distribution

    outcome = Outcome()
    distribution = Distribution(case.temperature, case.top_p)
    learner = Learner(case.learner, case.algorithm, case.model, distribution, case.total_steps, seed=0, place=place)
    try:
        learner.start()
        if case.load_from:
            learner.load_state(case.load_from)
        for batch in case.batches:
            if case.abandon_after and batch is case.batches[-1] and place.rank == 0:
                _abandon(learner, case.abandon_after)
            outcome.metrics.append(learner.update(batch))
        with _file_limit(case.file_limit):
            if case.save_to:
                learner.save_state(case.save_to)
            if case.save_planner_to:
                learner.save_pretrained(case.save_planner_to)
        if case.scored:
            outcome.scores = learner.score(case.scored)
        if case.send:
            outcome.sent = _send(learner, place)
        outcome.weights = {name: tensor.clone() for name, tensor in learner.named_tensors(bucket_mib=1)}
        outcome.specs, outcome.version = learner.parameter_specs(), learner.version
    except Exception as error:  # the test reads it
        outcome.error = f"{type(error).__name__}: {error}"
    finally:
        learner.close()
    return outcome


def _abandon(learner: Any, after: int) -> None:
    """Abandon the next update after so many of its micro-batches."""
    computed, left = learner._loss, iter(range(after, -1, -1))

    def loss(*piece: Any) -> Any:
        if next(left) == 0:
            learner.abandon_update()
        return computed(*piece)

    learner._loss = loss


@contextmanager
def _file_limit(limit: int) -> Iterator[None]:
    """Make every write beyond ``limit`` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _send(learner: Any, place: Any) -> list[Any]:
    """Send the weights through shared memory and read them back on rank 0."""
    import torch.distributed as dist

    from tracelift_ray.transfer.senders import SenderSettings
    from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader

    learner.open_weights("shared_memory", SenderSettings("learner-test", 1, 30.0))
    box = [learner.describe_weights() if place.rank == 0 else None]
    dist.broadcast_object_list(box)
    checksum = learner.send_weights(box[0]).checksum
    received = []
    if place.rank == 0:
        reader = SharedMemoryReader(box[0], "test")
        tensors = {name: tensor.clone() for name, tensor in reader.tensors()}
        received = [reader.verify(), tensors]
        reader.close()
    learner.release_weights(learner.version)
    return [checksum, *received]


def main() -> None:
    """One rank: ``python -m tests.integration.learner_ranks FOLDER RANK WORLD_SIZE PORT``."""
    import torch

    from tracelift_ray.rl.learner import engine_settings
    from tracelift_ray.training.engine import join
    from tracelift_ray.training.ranks import RankPlace

    folder, rank, world_size, port = Path(sys.argv[1]), *map(int, sys.argv[2:])
    torch.set_num_threads(1)
    place = RankPlace(rank, world_size, "127.0.0.1", port)
    cases = pickle.loads((folder / "cases.pkl").read_bytes())
    join(place, engine_settings(cases[0].learner))
    outcomes = {case.name: _run_case(case, place) for case in cases}
    if rank == 0:
        (folder / "outcomes.pkl").write_bytes(pickle.dumps(outcomes))
    torch.distributed.destroy_process_group()
    # As a child of multiprocessing ends: native threads that libraries keep may abort an ordinary exit.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    # Pickled cases name the classes of the importable module.
    from tests.integration.learner_ranks import main as run

    run()
