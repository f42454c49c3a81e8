"""A rank whose transfer broke goes on gathering, which the other ranks do with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.learner_configs import algorithm, learner
from tracelift_ray.errors import TransferBroken
from tracelift_ray.rl.learner import Learner
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.ranks import RankPlace
from tracelift_ray.transfer.manifest import Sent, WeightManifest
from tracelift_ray.transfer.senders import NamedTensors, SilentSender

MANIFEST = WeightManifest(0, "collective", (), "", 1, True, 1.0)


class Breaks(SilentSender):
    """Loses a receiver after its first tensor."""

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        next(iter(tensors))
        raise TransferBroken("weights", "an engine was lost")


def test_a_broken_transfer_leaves_no_rank_alone_in_a_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[int] = []

    def gathers(bucket_mib: int) -> Iterator[tuple[str, torch.Tensor]]:
        for index in range(5):
            gathered.append(index)
            yield f"{index}", torch.zeros(1)

    rank = Learner(learner(), algorithm(), "model", Distribution(1.0), 1, seed=0, place=RankPlace(0, 2, "127.0.0.1", 1))
    monkeypatch.setattr(rank, "named_tensors", gathers)
    monkeypatch.setattr(rank, "_sender", Breaks())
    with pytest.raises(TransferBroken):
        rank.send_weights(MANIFEST)
    assert gathered == [0, 1, 2, 3, 4]
