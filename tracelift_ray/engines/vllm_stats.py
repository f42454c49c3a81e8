"""What vLLM's scheduler says of its cache, between one question and the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.v1.metrics.stats import IterationStats, SchedulerStats


class CacheStats:
    """Of one engine. vLLM asks for ``factory``; the other public methods but ``read`` are those that it calls."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._fullest = 0.0
        self._asked = self._found = self._preempted = 0

    def factory(self, vllm_config: Any, engine_index: int = 0) -> CacheStats:
        """This object, as vLLM's only logger."""
        return self

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            self._fullest = max(self._fullest, scheduler_stats.kv_cache_usage)
            self._asked += scheduler_stats.prefix_cache_stats.queries
            self._found += scheduler_stats.prefix_cache_stats.hits
        if iteration_stats is not None:
            self._preempted += iteration_stats.num_preempted_reqs

    def log_engine_initialized(self) -> None:
        """Nothing is printed, here and below."""

    def log(self) -> None: ...

    def record_sleep_state(self, is_awake: int, level: int) -> None: ...

    def record_admission_rejection(self, reason: str) -> None: ...

    def read(self) -> dict[str, float]:
        """Since the last reading: how full the cache was at most (0 to 100), the share of prompt tokens that it held
        already (0 to 100), and requests that were put back for want of it."""
        figures = {"kv_cache_percent": 100.0 * self._fullest, "preemptions": float(self._preempted)}
        if self._asked:
            figures["prefix_cache_hit_percent"] = 100.0 * self._found / self._asked
        self._clear()
        return figures
