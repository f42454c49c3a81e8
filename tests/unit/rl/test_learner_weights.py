"""Every rank gathers all weights with the others, also where its own part in sending them is over, or broke."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from tests.learner_configs import algorithm, learner
from tracelift_ray.errors import TransferBroken
from tracelift_ray.rl.learner import Learner
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.ranks import RankPlace
from tracelift_ray.transfer.manifest import Held, Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import NamedTensors, SenderSettings, SilentSender

SPECS = tuple(TensorSpec(f"{index}", (100,), "bfloat16") for index in range(5))
MANIFEST = WeightManifest(0, "collective", (), "", 1, True, 1.0)


class Breaks(SilentSender):
    """Loses a receiver after its first tensor."""

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        next(iter(tensors))
        raise TransferBroken("weights", "an engine was lost")


@pytest.fixture
def gathered() -> list[int]:
    """The tensors that were gathered, by number."""
    return []


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch, gathered: list[int]) -> Learner:
    def gathers(bucket_mib: int = 1) -> Iterator[tuple[str, torch.Tensor]]:
        for index in range(5):
            gathered.append(index)
            yield f"{index}", torch.zeros(100, dtype=torch.bfloat16)

    built = Learner(
        learner(), algorithm(), "model", Distribution(1.0), 1, seed=0, place=RankPlace(0, 2, "127.0.0.1", 1)
    )
    monkeypatch.setattr(built, "named_tensors", gathers)
    monkeypatch.setattr(built, "parameter_specs", lambda: SPECS)
    monkeypatch.setattr(built, "_started", lambda: SimpleNamespace(adapter=None))
    return built


def test_a_broken_transfer_leaves_no_rank_alone_in_a_gather(rank: Learner, gathered: list[int]) -> None:
    rank._sender = Breaks()
    with pytest.raises(TransferBroken):
        rank.send_weights(MANIFEST)
    assert gathered == [0, 1, 2, 3, 4]


def test_a_change_is_gathered_once_when_it_is_made_and_by_ranks_that_make_none_too(
    rank: Learner, gathered: list[int]
) -> None:
    held = Held(0, "")
    rank._sender = SilentSender()
    rank.encode_weights(held)
    assert gathered == [0, 1, 2, 3, 4]
    rank.open_weights("shared_memory", SenderSettings(f"learner {os.getpid()}", 1, 10.0, delta=True))
    try:
        held = Held(0, rank.send_weights(rank.describe_weights(("0.0",))).checksum)
        rank.release_weights(0)
        gathered.clear()
        rank.encode_weights(held)
        manifest = rank.describe_weights(("0.0",))
        sent = rank.send_weights(manifest)
    finally:
        rank.close()
    assert gathered == [0, 1, 2, 3, 4]
    assert manifest.change and manifest.change.base == held and sent.checksum == held.checksum
