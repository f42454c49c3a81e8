"""Whole runs of the demo on GPUs: shared with the learner, over two workers, with a lost engine; seeds of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.gpu.devices import COLLECTIVE, REHEARSAL, engine_settings, needs
from tests.integration.training_runs import outlives_an_engine, records, train
from tests.serving import PROMPT
from tests.tiny import make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.engines.seeds import member_seed
from tracelift_ray.types import SamplingParams

#: Float32 on both sides; GPUs multiply it with less than its precision.
MISMATCH = 0.05
ON_GPUS = (
    *(("cluster.num_gpus=4",) if REHEARSAL else ()),
    f"learner.collective={COLLECTIVE}",
    "learner.gpus_per_worker=1",
    "planner.pool.gpus_per_worker=1",
    "planner.engine.gpu_memory_utilization=0.3",
    "planner.engine.startup_s=600",
    "planner.sampling.seeded=false",
)
SHARED = ("cluster.share_gpus=[[planner,learner]]", "learner.num_workers=2", "learner.zero_stage=3")
#: A rehearsal has no memory of a GPU that two processes share.
BY_IPC = f"stream.weight_transfer={'collective' if REHEARSAL else 'ipc'}"


def check_trained(run_dir: Path, engines: int) -> None:
    steps = records(run_dir, "training")
    assert [record["step"] for record in steps] == [1, 2, 3]
    assert all(record["weights/engines"] == engines for record in steps if "weights/engines" in record)
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < MISMATCH


@needs(2)
def test_planner_and_learner_take_turns_on_two_gpus(tmp_path: Path) -> None:
    """Two engines and two ZeRO-3 ranks, one of each on a GPU; weights by ipc; engines sleep while the learner works."""
    train(tmp_path, "total_steps=3", "planner.pool.workers=2", *ON_GPUS, *SHARED, BY_IPC)
    check_trained(tmp_path, engines=2)


@needs(2)
def test_a_planner_over_two_gpus_shares_them_with_two_ranks(tmp_path: Path) -> None:
    """Tensor parallel over two workers, each of which takes its weights from the rank on its GPU."""
    tensor_parallel = ("planner.engine.tensor_parallel_size=2", "planner.pool.gpus_per_worker=2")
    train(tmp_path, "total_steps=3", *ON_GPUS, *tensor_parallel, *SHARED, BY_IPC)
    check_trained(tmp_path, engines=1)


@needs(3)
def test_a_run_outlives_an_engine_that_is_killed_before_a_broadcast(tmp_path: Path) -> None:
    overrides = ("stream.weight_transfer=collective", "planner.pool.workers=2", *ON_GPUS)
    outlives_an_engine(tmp_path, "EngineCore", *overrides, mismatch=MISMATCH)


@needs(2)
async def test_two_engines_of_a_pool_write_different_traces(tmp_path: Path, on_gpu: Callable[[int], None]) -> None:
    path, written = make_tiny_llama(tmp_path, spread=0.02), []
    for index in range(2):
        on_gpu(index)
        engine = build_engine(engine_settings(), path, seed=member_seed(0, "planner", index, 0))
        await engine.start()
        params = SamplingParams(max_new_tokens=12)
        answers = await asyncio.gather(*(engine.generate(PROMPT, params) for _ in range(16)))
        written.append({completion.token_ids for (completion,) in answers})
        await engine.close()
    assert [len(each) for each in written] == [16, 16] and not written[0] & written[1]
