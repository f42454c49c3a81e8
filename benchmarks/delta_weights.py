"""Versions of the weights as changes, against whole ones, over a link of 1 Gb/s between two network namespaces.

    make smollm2
    python -m benchmarks.delta_weights [--engine transformers] [--rounds 12] [--model DIR] [--mbit 1000]

The learner first trains the model in bfloat16 at a learning rate of 1e-6. Then its versions go from one namespace to an
engine in the other, there and back again, each over the collective as what changed, and then whole. A round is from the
version's description, which includes finding what changed, until the engine serves it. The pause is the part of that in
which the engine generates nothing. Needs root, ``ip`` and ``tc``; what crosses the link is counted by it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, deliver, median, parser
from launch.fetch_smollm2 import DEFAULT_DIRECTORY
from tests.learner_configs import ALGORITHM, learner
from tests.tiny import engine_config
from tracelift_ray.transfer.manifest import Held, TensorSpec, WeightManifest
from tracelift_ray.types import TrainBatch, TrainSample

LEARNER, ENGINE = "10.83.1.1", "10.83.1.2"
DEADLINE_S = 300.0
Weights = list[tuple[str, Any]]
#: Of a token bucket: what may pass at once, and for how long a packet may wait.
BURST, LATENCY = "256kb", "400ms"


@dataclass(frozen=True)
class Sending:
    """How long a version took until it was served, how long the engine paused for it (s), and bytes over the link."""

    seconds: float
    pause: float
    crossed: int


@dataclass(frozen=True)
class Round:
    """One version, sent both ways, and the share of elements that changed."""

    change: Sending
    whole: Sending
    share: float


@contextlib.contextmanager
def link(mbit: int) -> Iterator[tuple[list[str], list[str]]]:
    """Two network namespaces with a shaped link between them; prefixes of commands that run in them."""
    names = [f"tracelift-{os.getpid()}-{side}" for side in "ab"]
    ends = [f"tl{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            _run("ip", "netns", "add", name)
        _run(
            "ip", "link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1]
        )
        for name, end, address in zip(names, ends, (LEARNER, ENGINE), strict=True):
            inside = ("ip", "netns", "exec", name)
            _run(*inside, "ip", "link", "set", end, "name", "link0")
            _run(*inside, "ip", "address", "add", f"{address}/24", "dev", "link0")
            for device in ("lo", "link0"):
                _run(*inside, "ip", "link", "set", device, "up")
            shape = ("rate", f"{mbit}mbit", "burst", BURST, "latency", LATENCY)
            _run(*inside, "tc", "qdisc", "add", "dev", "link0", "root", "tbf", *shape)
        yield ["ip", "netns", "exec", names[0]], ["ip", "netns", "exec", names[1]]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")


def crossed() -> int:
    """Bytes that this namespace sent and received over the link so far."""
    counters = Path("/sys/class/net/link0/statistics")
    if not counters.exists():  # /sys is that of the namespace that mounted it
        line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if "link0:" in line)
        fields = line.partition(":")[2].split()
        return int(fields[0]) + int(fields[8])
    return sum(int((counters / name).read_text()) for name in ("rx_bytes", "tx_bytes"))


# --- the engine's side ------------------------------------------------------------------------------------------------


def timed(pauses: list[float], call: Any) -> Any:
    """``call``, which notes how long it took."""

    def run(*args: Any) -> Any:
        began = time.perf_counter()
        result = call(*args)
        pauses.append(time.perf_counter() - began)
        return result

    return run


def watch_pauses(engine: Any, kind: str) -> list[float]:
    """Where the engine's pauses will be noted, in seconds."""
    pauses: list[float] = []
    if kind == "transformers":
        from tracelift_ray.engines.batch_decoder import BatchDecoder

        for name in ("load", "change"):
            setattr(BatchDecoder, name, timed(pauses, getattr(BatchDecoder, name)))
        return pauses
    llm, began = engine._llm, [0.0]
    pause, resume = llm.engine_core.pause_scheduler_async, llm.resume_generation

    async def paused(**options: Any) -> None:
        await pause(**options)
        began[0] = time.perf_counter()

    async def resumed() -> None:
        await resume()
        pauses.append(time.perf_counter() - began[0])

    llm.engine_core.pause_scheduler_async, llm.resume_generation = paused, resumed
    return pauses


async def serve(kind: str, model: str, channel: Connection) -> None:
    """Take versions until there are no more; answers (receipt, seconds of the pause)."""
    from tracelift_ray.engines.kinds import build_engine

    engine = build_engine(engine_config(kind, dtype="bfloat16", startup_s=DEADLINE_S), model, transfer="collective")
    await engine.start()
    pauses = watch_pauses(engine, kind)
    channel.send("ready")
    try:
        while (manifest := await asyncio.to_thread(channel.recv)) is not None:
            receipt = await engine.receive_weights(manifest)
            channel.send((receipt, pauses[-1]))
    finally:
        await engine.close()


# --- the learner's side -----------------------------------------------------------------------------------------------


def batch_of(tokenizer: Any, rank: Any, rng: random.Random) -> TrainBatch:
    """Two groups of four traces of the model's kind, half of them better than the others."""
    samples = []
    for _ in range(2):
        a, b = rng.randint(2, 60), rng.randint(2, 60)
        prompt = f"Ann has {a} apples and buys {b} more. How many apples has she now? Reason step by step."
        for index in range(4):
            total = a + b + (index % 2) * rng.randint(1, 9)
            trace = f" Ann has {a} apples at first. She buys {b} more, so we add: {a} + {b} = {total}. She has {total}."
            ids = [tuple(tokenizer(text)["input_ids"]) for text in (prompt, trace)]
            samples.append(TrainSample(ids[0], ids[1], (0.0,) * len(ids[1]), 1.0 - 2 * (index % 2)))
    scored = zip(samples, rank.score(samples), strict=True)
    samples = [TrainSample(each.prompt_ids, each.completion_ids, own, each.advantage) for each, own in scored]
    return TrainBatch(tuple(samples), len(samples), sum(len(each.completion_ids) for each in samples))


def trained(model: str, updates: int) -> list[Weights]:
    """The weights of the model, and after each update."""
    from transformers import AutoTokenizer

    from tracelift_ray.rl.learner import Learner
    from tracelift_ray.training.logprobs import Distribution
    from tracelift_ray.training.ranks import RankPlace, free_port

    config = learner(dtype="bfloat16", lr=1e-6, weight_decay=0.0, startup_s=DEADLINE_S)
    place = RankPlace(0, 1, "127.0.0.1", free_port())
    rank = Learner(config, ALGORITHM, model, Distribution(1.0), 1000, seed=0, place=place)
    tokenizer, rng, versions = AutoTokenizer.from_pretrained(model), random.Random(0), []
    rank.start()
    try:
        for number in range(updates + 1):
            if number:
                rank.update(batch_of(tokenizer, rank, rng))
            versions.append([(name, tensor.clone()) for name, tensor in rank.named_tensors()])
    finally:
        rank.close()
    return versions


def differing(one: Weights, other: Weights) -> float:
    """The share of elements."""
    unequal = sum(int((a != b).sum()) for (_, a), (_, b) in zip(one, other, strict=True))
    return unequal / sum(tensor.numel() for _, tensor in one)


def send(
    sender: Any, version: int, weights: Weights, channel: Connection, held: Held | None = None
) -> tuple[Any, Sending]:
    """One version to the engine, as a change of what is ``held``, and its receipt."""
    specs = tuple(TensorSpec(name, tuple(tensor.shape), "bfloat16") for name, tensor in weights)
    before, began = crossed(), time.perf_counter()
    if held is not None:
        sender.encode(specs, version, iter(weights), held)
    manifest: WeightManifest = sender.describe(specs, version, ("0.0",))
    if (manifest.change is None) != (held is None):
        sys.exit("the change was dense")
    channel.send(manifest.for_receiver("0.0"))
    sent = sender.send(manifest, iter(weights))
    receipt, pause = channel.recv()
    seconds = time.perf_counter() - began
    if receipt.checksum != sent.checksum:
        sys.exit(f"sent {sent.checksum}, arrived {receipt.checksum}")
    sender.release(version)
    return receipt, Sending(seconds, pause, crossed() - before)


def exchange(versions: list[Weights], rounds: int, channel: Connection) -> list[Round]:
    """Send one version after the other, there and back, each as a change and whole."""
    from tracelift_ray.transfer.delta_sender import DeltaSender
    from tracelift_ray.transfer.kinds import build_weight_sender
    from tracelift_ray.transfer.senders import SenderSettings

    whole = build_weight_sender("collective", SenderSettings("delta", 64, DEADLINE_S, address=LEARNER))
    changes, order = DeltaSender(whole), [*range(len(versions)), *range(len(versions) - 2, 0, -1)]
    shares = [differing(one, other) for one, other in itertools.pairwise([*versions, versions[0]])]
    if channel.recv() != "ready":
        sys.exit("the engine did not start")
    done = []
    try:
        receipt, _ = send(changes, 0, versions[0], channel)
        for number in range(1, rounds + 1):
            before, after = order[(number - 1) % len(order)], order[number % len(order)]
            held = Held(receipt.version, receipt.checksum)
            receipt, change = send(changes, number, versions[after], channel, held)
            again = send(whole, number, versions[after], channel)[1]
            done.append(Round(change, again, shares[min(before, after)]))
            print(f"round {number}: {done[-1]}", flush=True)
    finally:
        channel.send(None)
        whole.close()
    return done


def figures(rounds: list[Round], kind: str, mbit: int) -> list[Figure]:
    """What the rounds come to; the first of them opened the channel's ways."""
    name, later = f"SmolLM2 in bfloat16, lr 1e-6, {kind}", rounds[1:] or rounds
    made = partial(median, better="lower")
    part = [each.change.crossed / each.whole.crossed for each in later]
    faster = [each.whole.seconds / each.change.seconds for each in later]
    return [
        made(f"{name}: elements that changed", [each.share for each in later], "of all"),
        made(f"{name}: bytes over the link", part, "of the whole", goal=0.03),
        made(f"{name}: change, {mbit} Mb/s", [each.change.seconds for each in later], "s"),
        made(f"{name}: whole, {mbit} Mb/s", [each.whole.seconds for each in later], "s"),
        median(f"{name}: whole ÷ change, {mbit} Mb/s", faster, "ratio", "higher", goal=10.0),
        made(f"{name}: pause, change", [each.change.pause for each in later], "s", goal=0.05),
        made(f"{name}: pause, whole", [each.whole.pause for each in later], "s"),
    ]


def main() -> None:
    """Lay the link, and start one process in each namespace; or be one of them."""
    command = parser(__doc__)
    command.add_argument("--engine", default="transformers", choices=("transformers", "vllm"))
    command.add_argument("--model", default=str(DEFAULT_DIRECTORY))
    command.add_argument("--rounds", type=int, default=12)
    command.add_argument("--updates", type=int, default=2)
    command.add_argument("--mbit", type=int, default=1000)
    command.add_argument("--inside", nargs=2, metavar=("SIDE", "SOCKET"), help=argparse.SUPPRESS)
    options = command.parse_args()
    if options.inside and options.inside[0] == "engine":
        with Client(options.inside[1]) as channel:
            asyncio.run(serve(options.engine, options.model, channel))
        return
    if options.inside:
        with Listener(options.inside[1]) as listener, listener.accept() as channel:
            rounds = exchange(trained(options.model, options.updates), options.rounds, channel)
            deliver(options, figures(rounds, options.engine, options.mbit))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing of the network is left behind
    if not Path(options.model).is_dir():
        sys.exit(f"--model={options.model} is no directory: make smollm2")
    again = [sys.executable, "-m", "benchmarks.delta_weights", *sys.argv[1:], "--inside"]
    environment = os.environ | {
        "GLOO_SOCKET_IFNAME": "link0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    with tempfile.TemporaryDirectory() as folder, link(options.mbit) as (left, right):
        socket = f"{folder}/channel"
        trainer = subprocess.Popen([*left, *again, "learner", socket], env=environment)
        while not Path(socket).exists() and trainer.poll() is None:
            time.sleep(0.1)
        engine = subprocess.Popen([*right, *again, "engine", socket], env=environment)
        try:
            code = trainer.wait(timeout=1800)
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                engine.wait(timeout=60 if trainer.poll() == 0 else 0)
            for process in (trainer, engine):
                process.kill()
    sys.exit(code)


if __name__ == "__main__":
    main()
