"""One of two ZeRO-3 learner ranks in bfloat16: ``python -m tests.gpu.zero3_rank MODEL FOLDER PORT RANK``.

Trains one step, offers the weights by ipc, leaves manifest and checksum in FOLDER, and ends once they are received.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

import torch.distributed as dist

from tests.learner_configs import algorithm, learner
from tracelift_ray.rl.learner import Learner
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.ranks import RankPlace
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
    model, folder, port, rank = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    config = learner(num_workers=2, collective="nccl", zero_stage=3, dtype="bfloat16", lr=1e-2, startup_s=120.0)
    place = RankPlace(rank, 2, "127.0.0.1", port, local_rank=rank)
    trainer = Learner(config, algorithm(), model, Distribution(1.0), 10, seed=0, place=place)
    trainer.start()
    trainer.update(batch())
    trainer.open_weights("ipc", SenderSettings("zero3", 1, 60.0))
    box = [trainer.describe_weights() if rank == 0 else None]
    dist.broadcast_object_list(box)
    manifest = box[0]
    assert manifest is not None
    checksum = trainer.send_weights(manifest).checksum
    dist.barrier()
    trainer.save_pretrained(folder / "trained")
    if rank == 0:
        (folder / "checksum").write_text(checksum)
        (folder / "manifest.tmp").write_bytes(pickle.dumps(manifest))
        (folder / "manifest.tmp").rename(folder / "manifest.pkl")
    ends = time.monotonic() + 120
    while not (folder / "received").exists() and time.monotonic() < ends:
        time.sleep(0.1)
    trainer.release_weights(trainer.version)
    trainer.close()


if __name__ == "__main__":
    main()
