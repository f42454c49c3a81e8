"""What can be checked of a trace beyond the executor's success, where the problems come from the demo world."""

from __future__ import annotations

from tracelift_ray.config.schema import DataConfig
from tracelift_ray.demo.source import trace_is_valid
from tracelift_ray.evaluation.attempts import TraceChecks


def trace_checks(data: DataConfig) -> TraceChecks:
    """``trace_validity`` where every source is the demo world's, else nothing."""
    sources = (*data.train, *data.heldout)
    return {"trace_validity": trace_is_valid} if all(source.startswith("demo:") for source in sources) else {}
