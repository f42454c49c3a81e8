"""Which pools sleep while the learner works."""

from __future__ import annotations

from collections.abc import Callable

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.colocation import sleeping_pools

Run = Callable[..., RunConfig]
GPUS = (
    "planner=vllm_gpu",
    "executor=vllm_gpu",
    "reasoning_rm=model_gpu",
    "learner=gpu",
    "stream.weight_transfer=collective",
    "cluster.num_gpus=8",
)
SHARES = tuple(f"{pool}.pool.gpus_per_worker=0.3" for pool in ("planner", "executor", "reasoning_rm"))
ALL = "cluster.share_gpus=[[planner,learner,executor,reasoning_rm]]"


def test_pools_on_the_learners_gpus_sleep_where_their_engines_can(run_config: Run) -> None:
    assert sleeping_pools(run_config(*GPUS, ALL, *SHARES)) == {"planner", "executor", "reasoning_rm"}
    other = "executor.engine.kind=transformers"
    assert sleeping_pools(run_config(*GPUS, ALL, *SHARES, other)) == {"planner", "reasoning_rm"}


def test_pools_elsewhere_stay_awake(run_config: Run) -> None:
    assert sleeping_pools(run_config(*GPUS)) == set()
    assert sleeping_pools(run_config(*GPUS, "cluster.share_gpus=[[executor,reasoning_rm]]", *SHARES)) == set()
    assert sleeping_pools(run_config(*GPUS, "cluster.share_gpus=[[planner,learner]]")) == {"planner"}
