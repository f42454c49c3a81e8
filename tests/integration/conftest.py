"""A Ray of the tests' own, and the order in which files are handed to the processes that run them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

#: Files of whole runs come first: one that began last would keep a single process busy at the end.
LONGEST = (
    "test_training_faults.py",
    "test_training.py",
    "test_two_nodes.py",
    "test_evaluate.py",
    "test_ray_job.py",
    "test_attacks.py",
    "test_learner.py",
    "test_options.py",
    "test_sandbox_faults.py",
    "test_scoring_service.py",
    "test_train_rm.py",
    "test_actor_pool.py",
    "test_vllm_adapters.py",
    "test_collective_transfer.py",
    "test_openai_engine.py",
    "test_weight_transfer.py",
    "test_vllm_engine.py",
    "test_choice.py",
    "test_warm_start.py",
    "test_build_groups.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file, the longest first; the tests of a file keep their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A local Ray with eight logical CPUs and four declared GPUs, ended after the module."""
    import ray

    from actors.runtime import start_here

    start_here(num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    yield
    ray.shutdown()
