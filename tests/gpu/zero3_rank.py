"""One of two ZeRO-3 learner ranks: ``python -m tests.gpu.zero3_rank MODEL FOLDER PORT COLLECTIVE DTYPE WORKERS RANK``.

Trains one step, leaves the manifest in FOLDER, sends the weights by ipc to an engine of WORKERS workers, leaves
checksum and trained model there, and ends once they are received.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

import torch.distributed as dist

from tests.gpu.devices import device
from tests.hang import HANG_S
from tests.learner_configs import algorithm, learner
from tracelift_ray.rl.learner import Learner
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.ranks import RankPlace
from tracelift_ray.transfer.ipc import memory_of
from tracelift_ray.transfer.ipc_sender import IpcSender
from tracelift_ray.transfer.senders import SenderSettings
from tracelift_ray.types import TrainBatch, TrainSample


def batch() -> TrainBatch:
    """Four samples with advantages of both signs."""
    samples = tuple(
        TrainSample(tuple(range(10, 30)), tuple(range(40 + index, 52 + index)), (-5.0,) * 12, (-1.0) ** index)
        for index in range(4)
    )
    return TrainBatch(samples, num_traces=4, num_tokens=48)


def main() -> None:
    """Run one rank to its end."""
    model, folder, port, collective, dtype = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:6]
    workers, rank = int(sys.argv[6]), int(sys.argv[7])
    config = learner(num_workers=2, collective=collective, zero_stage=3, dtype=dtype, lr=1e-2, startup_s=120.0)
    place = RankPlace(rank, 2, "127.0.0.1", port, local_rank=rank)
    trainer = Learner(config, algorithm(), model, Distribution(1.0), 10, seed=0, place=place)
    trainer.start()
    trainer.update(batch())
    settings = SenderSettings("zero3", 1, 120.0, workers_per_receiver=workers, rank=rank)
    trainer._sender = IpcSender(settings, memory_of(device(rank)))
    box = [trainer.describe_weights(("0.0",)) if rank == 0 else None]
    dist.broadcast_object_list(box)
    manifest = box[0]
    assert manifest is not None
    if rank == 0:
        (folder / "manifest.tmp").write_bytes(pickle.dumps(manifest))
        (folder / "manifest.tmp").rename(folder / "manifest.pkl")
    checksum = trainer.send_weights(manifest).checksum
    if rank == 0:
        (folder / "checksum").write_text(checksum)
    trainer.save_pretrained(folder / "trained")
    ends = time.monotonic() + HANG_S
    while not (folder / "received").exists() and time.monotonic() < ends:
        time.sleep(0.1)
    trainer.release_weights(trainer.version)
    trainer.close()


if __name__ == "__main__":
    main()
