"""Asynchronous against synchronous training on 32, 64 and 128 GPUs, in simulation.

    python -m benchmarks.asynchrony [--steps 5]

The real stream runs on a virtual clock over modelled engines (``tracelift_ray.simulation.capacity``). The latencies are
assumptions in the size of a model of 7 B parameters on GPUs of 150 TFLOP/s, with a long tail of traces: 10 ms a token
for a request alone and 0.1 ms more for each beside it, 1,300 trained tokens a second and GPU. No GPU has run any of it.
Synchronous is measured twice: with the same pools, which then wait for each other, and with all pools on all GPUs in
turn, as colocated trainers have it.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.figures import Figure, deliver, parser
from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import forecast
from tracelift_ray.simulation.engines import Speed
from tracelift_ray.simulation.workload import Lengths, Seconds, Split, Workload

GPUS = (32, 64, 128)
#: 512 groups of 8 traces a step.
BATCH = ["experiment=quickstart", "algorithm.groups_per_step=512", "algorithm.group_size=8"]
ENGINE = Speed(alone_s=0.010, beside_s=0.0001, slots=256)
WORK = Workload(
    traces=Lengths(mean=900, spread=1.1, most=28_000),
    artifacts=Lengths(mean=300, spread=0.8, most=2_048),
    samples=4,
    baseline=3,
    planner=ENGINE,
    executor=ENGINE,
    score_s=Seconds(0.05),
    verify_s=Seconds(0.0),
    verifiers=1,
    train_token_s=1 / 1300,
    update_s=0.0,
    prompt=200,
    broadcast_s=Seconds(5.0),
)
#: verl's documentation, docs/advance/fully_async.md: mean step of colocated synchronous / fully asynchronous training.
PEERS = {32: "790.10 s / 294.77 s", 64: "365.28 s / 189.26 s", 128: "356.30 s / 150.63 s"}


def divided(gpus: int) -> Split:
    """Over half of the GPUs learn."""
    return Split(planner=gpus // 4, executor=gpus // 8, reasoning_rm=gpus // 16, learner=gpus * 9 // 16)


def figures(steps: int) -> list[Figure]:
    """Both ratios for each number of GPUs."""
    run = to_run_config(composed("config", BATCH))
    synchronous, asynchronous = replace(run.stream, max_staleness=0), replace(run.stream, max_staleness=1)
    found = []
    for gpus in GPUS:
        split = divided(gpus)
        ahead = forecast(WORK, split, run.algorithm, asynchronous, steps)
        waiting = forecast(WORK, split, run.algorithm, synchronous, steps)
        shared = forecast(WORK, Split(gpus, gpus, gpus, gpus), run.algorithm, synchronous, steps)
        busy = ", ".join(f"{name} {share:.0%}" for name, share in ahead.busy.items())
        late = f"staleness {ahead.staleness:.1f}, {ahead.dropped} groups too stale"
        note = f"simulated; asynchronous step {ahead.step_s:.0f} s, {late}, busy: {busy}"
        same = Figure(
            f"{gpus} GPUs, synchronous / asynchronous step, same pools",
            waiting.step_s / ahead.step_s, "ratio", "higher", note=note,
        )  # fmt: skip
        peer = f"{PEERS[gpus]} on H20s, Qwen2.5-Math-7B, measured (verl, docs/advance/fully_async.md)"
        name = f"{gpus} GPUs, colocated synchronous / asynchronous step"
        found += [same, Figure(name, shared.step_s / ahead.step_s, "ratio", "higher", note="simulated", peer=peer)]
    return found


def main() -> None:
    """Simulate and print."""
    command = parser(__doc__)
    command.add_argument("--steps", type=int, default=4)
    options = command.parse_args()
    deliver(options, figures(options.steps))


if __name__ == "__main__":
    main()
