"""What is kept of vLLM's statistics between two readings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tracelift_ray.engines.vllm_stats import CacheStats


def scheduler(usage: float, queries: int, hits: int) -> Any:
    return SimpleNamespace(kv_cache_usage=usage, prefix_cache_stats=SimpleNamespace(queries=queries, hits=hits))


def test_a_reading_has_the_fullest_moment_and_the_sums_since_the_one_before() -> None:
    stats = CacheStats()
    logger = stats.factory(None, 0)
    logger.record(scheduler(0.9, 100, 0), SimpleNamespace(num_preempted_reqs=2))
    logger.record(scheduler(0.2, 300, 300), None)
    logger.record(None, SimpleNamespace(num_preempted_reqs=1))
    assert stats.read() == {"kv_cache_percent": 90.0, "preemptions": 3.0, "prefix_cache_hit_percent": 75.0}
    assert stats.read() == {"kv_cache_percent": 0.0, "preemptions": 0.0}
