"""The plan of a run, shown by ``dry_run=true``: what the pools ask for, against what the cluster has."""

from __future__ import annotations

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.plan import render_plan
from tracelift_ray.planning.resources import ClusterResources, demands, local_resources, shortfalls, total_cpus


def show_plan(run: RunConfig) -> int:
    """Print the plan; 1 where the cluster has too little for it, else 0."""
    resources = _resources(run)
    print(render_plan(run, resources))
    return 1 if shortfalls(demands(run), resources) else 0


def _resources(run: RunConfig) -> ClusterResources:
    """What there is: of this machine without starting Ray, or of the cluster that is running."""
    if run.cluster.address == "local":
        return local_resources(run)
    from actors.runtime import connect, resources
    from actors.system import shutdown

    connect(run.cluster, total_cpus(run))
    try:
        return resources()
    finally:
        shutdown()
