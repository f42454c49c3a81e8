"""A Ray of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A local Ray with eight logical CPUs and four declared GPUs, ended after the module."""
    import ray

    ray.init(
        address="local",
        num_cpus=8,
        num_gpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        ignore_reinit_error=False,
    )
    yield
    ray.shutdown()
