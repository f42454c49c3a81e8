"""A run's metrics on Ray's Prometheus endpoints: the newest value of each, as gauges of the driver's node.

Nothing about it stops a run: what goes wrong is one line, and then it is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ray.util.metrics import Gauge

from tracelift_ray.config.errors import first_line
from tracelift_ray.tracking.prometheus import series


class PrometheusSink:
    """Implements ``tracking.tracker.MetricSink``. ``run``: the label of this run's series."""

    def __init__(self, run: str, say: Callable[[str], None]) -> None:
        self._run = run
        self._say = say
        self._gauges: dict[str, Gauge] = {}
        self._failed = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the values of a step, and the step itself as ``run/step``."""
        if self._failed:
            return
        try:
            for metric, value in {**metrics, "run/step": float(step)}.items():
                name, of = series(metric)
                if name not in self._gauges:
                    self._gauges[name] = Gauge(name, description=metric, tag_keys=("run", "of"))
                self._gauges[name].set(value, tags={"run": self._run, "of": of})
        except Exception as error:  # a sink that fails, in whatever way, is left alone
            self._failed = True
            self._say(f"Prometheus: stopped ({first_line(error)}); the run goes on without it, metrics.jsonl is whole")
