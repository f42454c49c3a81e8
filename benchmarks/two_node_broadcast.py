"""Time of one weight broadcast between two Ray nodes, for a model of 135 M parameters.

    python -m benchmarks.two_node_broadcast [--transfer collective] [--dtype float32] [--rounds 12] [--layers 30]

The learner is on one node, the vLLM engine on the other. The nodes are on this machine, and each has a ``/dev/shm`` and
a temporary folder of its own, so that weights reach the engine over a socket alone. Prints, for each round, the seconds
of the loop's own ``broadcast_weights``: from the description of a version until the engine serves it. An update lies
between two rounds. The model is random and has the shape of SmolLM2-135M.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.weight_broadcast import random_smollm2
from tests.configs import run_config
from tests.integration.two_nodes import two_nodes
from tracelift_ray.types import TrainBatch, TrainSample

#: Logical CPUs of the two nodes: room for one pool's member each.
CPUS = (1, 1)
BATCH = TrainBatch((TrainSample((5, 6, 7), (8, 9), (-10.0, -10.0), 1.0),), 1, 2)


async def measure(address: str, model: str, transfer: str, dtype: str, rounds: int) -> list[float]:
    """Seconds of each round; called on the learner's node."""
    import ray

    from actors.learner import RayLearnerGroup
    from actors.placement import Placement
    from actors.planner import RayPlannerPool
    from actors.runtime import live_nodes
    from tracelift_ray.planning.placement import place
    from tracelift_ray.planning.resources import demands
    from tracelift_ray.rl.weights import broadcast_weights

    run = run_config(
        f"planner.model={model}",
        f"planner.engine.dtype={dtype}",
        f"learner.dtype={dtype}",
        f"stream.weight_transfer={transfer}",
        "planner.pool.cpus_per_worker=1",
        "learner.cpus_per_worker=1",
        "learner.micro_batch_tokens=256",
    )
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    placement = Placement()
    wanted = [each for each in demands(run) if each.name in ("planner", "learner")]
    await placement.reserve(place(wanted, live_nodes(), (), transfer), 60.0)
    learner, planner = RayLearnerGroup(run, placement), RayPlannerPool(run.planner, run.stream, placement, run.seed)
    times = []
    try:
        await asyncio.gather(learner.start(), planner.pool.start())
        for number in range(1, rounds + 1):
            await learner.update(BATCH)
            done = await broadcast_weights(learner, planner)
            assert done.engines == 1 and done.version == number
            times.append(done.seconds)
            print(f"round {number}: {done.num_bytes / 2**20:.0f} MiB in {done.seconds:.3f} s", flush=True)
    finally:
        await planner.pool.close()
        await learner.close()
        placement.release()
        ray.shutdown()
    return times


def main() -> None:
    """Start the nodes and measure on one of them; or, given their address, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfer", default="collective", choices=("collective", "object_store"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--inside", nargs=2, metavar=("ADDRESS", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        address, model = options.inside
        times = asyncio.run(measure(address, model, options.transfer, options.dtype, options.rounds))
        later = times[1:]  # the first also opens the channel and faults in the memory that the later ones reuse
        print(f"median {statistics.median(later):.3f} s, {min(later):.3f} to {max(later):.3f} s")
        return
    with tempfile.TemporaryDirectory() as model, two_nodes(CPUS) as (head, _, address, environment):
        random_smollm2(Path(model), options.layers, options.dtype)
        again = [sys.executable, "-m", "benchmarks.two_node_broadcast", *sys.argv[1:], "--inside", address, model]
        subprocess.run(head.inside(again), env=environment, check=True)


if __name__ == "__main__":
    main()
