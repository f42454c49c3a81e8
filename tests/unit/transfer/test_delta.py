"""Versions that travel as what changed: every bit arrives, and what cannot be a change goes out whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.transfer.delta import FAR, Copy, Entries, Keeping
from tracelift_ray.transfer.delta_sender import DeltaSender
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import Held, Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import SenderSettings
from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader

SHAPES = {"a": (300, 7), "empty": (0,), "scalar": (), "b": (1 << 18,), "c": (5, 3, 2)}
SPECS = tuple(TensorSpec(name, shape, "bfloat16") for name, shape in SHAPES.items())
Weights = dict[str, torch.Tensor]


def weights(seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(torch.bfloat16) for name, shape in SHAPES.items()}


def bits(tensors: Weights) -> bytes:
    return b"".join(tensor.contiguous().view(-1).view(torch.int16).numpy().tobytes() for tensor in tensors.values())


def changed(tensors: Weights, share: float, seed: int = 1) -> Weights:
    """The same, with any bits in ``share`` of the elements."""
    rng, result = np.random.default_rng(seed), {name: tensor.clone() for name, tensor in tensors.items()}
    for tensor in result.values():
        flat = tensor.view(-1).view(torch.int16).numpy()
        chosen = rng.random(len(flat)) < share
        flat[chosen] = rng.integers(-(1 << 15), 1 << 15, chosen.sum())
    return result


@pytest.mark.parametrize("share", [0.0, 0.00002, 0.01, 0.2])
def test_a_changed_copy_is_the_new_version_bit_for_bit(share: float) -> None:
    old = weights()
    new = changed(old, share)
    sender, receiver = Copy(SPECS), Copy(SPECS)
    for copy in (sender, receiver):
        list(copy.fill(old.items()))
    found = sender.replace(new.items(), most=10**6)
    assert found is not None
    entries, checksum = found
    assert len(entries.gaps) == len(entries.steps) and entries.gaps.nbytes > 0
    receiver.apply(Entries.unpacked(entries.packed()))
    assert bits(dict(receiver.tensors())) == bits(new) == bits(dict(sender.tensors()))
    assert receiver.checksum() == checksum == sender.checksum()


def test_special_values_and_small_moves_arrive_and_a_small_move_takes_three_bytes() -> None:
    old = torch.tensor([0.0, -0.0, 1.0, float("nan"), float("inf"), 3.0, 5.0]).to(torch.bfloat16)
    new = torch.tensor([-0.0, 0.0, float("nan"), 1.0, float("-inf"), 3.015625, 5.0]).to(torch.bfloat16)
    copy = Copy((TensorSpec("w", (7,), "bfloat16"),))
    list(copy.fill([("w", old)]))
    before = copy.checksum()
    found = copy.replace([("w", new)], most=7)
    assert found is not None and len(found[0].steps) == 6 and len(found[0].wide) == 5
    receiver = Copy(copy.specs)
    list(receiver.fill([("w", old)]))
    assert receiver.checksum() == before
    receiver.apply(found[0])
    assert bits({"w": receiver.tensors()[0][1]}) == bits({"w": new})


@pytest.mark.parametrize("gap", [0, 1, FAR - 1, FAR, FAR + 1, 2 * FAR, 5 * FAR + 3])
@pytest.mark.parametrize("step", [1, -1, 127, -127, 128, -128, -(1 << 15)])
def test_any_gap_and_step_come_back(gap: int, step: int) -> None:
    places, steps = np.array([gap, gap + 1, 2 * gap + 2]), np.array([step, 5, step], np.int16)
    again, same = Entries.of(places, steps).decoded()
    assert again.tolist() == places.tolist() and same.tolist() == steps.tolist()


def test_changed_elements_are_named_by_tensor_and_can_be_written_to_weights_of_another_type() -> None:
    old = weights()
    new = changed(old, 0.01)
    new = {name: torch.nan_to_num(tensor, 1.0) for name, tensor in new.items()}
    sender, receiver = Copy(SPECS), Copy(SPECS)
    for copy in (sender, receiver):
        list(copy.fill(old.items()))
    found = sender.replace(new.items(), most=10**6)
    assert found is not None
    model = {name: tensor.float() for name, tensor in old.items()}
    for each in receiver.apply(found[0]):
        each.write(model[each.name])
    assert all(torch.equal(model[name], new[name].float()) for name in SHAPES)


@pytest.fixture
def sender() -> Iterator[DeltaSender]:
    built = build_weight_sender("shared_memory", SenderSettings(f"delta {os.getpid()}", 1, 10.0, delta=True))
    assert isinstance(built, DeltaSender)
    yield built
    built.close()


class End:
    """A receiver, and what it gave as its last receipt."""

    def __init__(self) -> None:
        self.keeping = Keeping("test")
        self.held: Held | None = None

    def take(self, manifest: WeightManifest) -> str:
        reader = SharedMemoryReader(WeightManifest.of(manifest.fields()), "test")
        try:
            arrived = dict(reader.tensors())
            reader.verify()
        finally:
            reader.close()
        if manifest.change is None:
            list(self.keeping.whole(manifest, arrived.items()))
            checksum = self.keeping.checked(manifest)
        else:
            self.keeping.changed(manifest, arrived.items())
            checksum = manifest.change.checksum
        self.held = Held(manifest.version, checksum)
        return checksum


def sent(
    sender: DeltaSender, tensors: Weights, version: int, held: Held | None, specs: tuple[TensorSpec, ...] = SPECS
) -> tuple[WeightManifest, Sent]:
    """A version as a broadcast sends it to receivers which all have ``held``; a try before is over."""
    sender.release(version)
    if held is not None:
        sender.encode(specs, version, iter(tensors.items()), held)
    manifest = sender.describe(specs, version, ("0.0",))
    return manifest, sender.send(manifest, [] if manifest.change else list(tensors.items()))


def test_the_first_version_is_whole_and_the_next_ones_are_changes_under_the_checksum_of_the_whole(
    sender: DeltaSender,
) -> None:
    end, tensors = End(), weights()
    for version in range(4):
        manifest, done = sent(sender, tensors, version, end.held)
        assert (manifest.change is None) == (version == 0) and manifest.kept
        assert end.take(manifest) == done.checksum
        assert end.keeping.copy and bits(dict(end.keeping.copy.tensors())) == bits(tensors)
        whole = sum(spec.num_bytes for spec in SPECS)
        assert manifest.num_bytes == whole if version == 0 else manifest.num_bytes < 0.1 * whole
        tensors = changed(tensors, 0.01, seed=version)


def test_a_version_is_whole_where_a_change_would_not_do(sender: DeltaSender) -> None:
    end, tensors = End(), weights()
    end.take(sent(sender, tensors, 0, None)[0])
    assert end.held
    strangers = (None, Held(end.held.version, "0" * 16), Held(end.held.version + 1, end.held.checksum))
    for held in strangers:
        assert sent(sender, changed(tensors, 0.01), 1, held)[0].change is None
        end.take(sent(sender, tensors, 0, None)[0])
    assert sent(sender, weights(seed=5), 1, end.held)[0].change is None, "all of it changed"
    end.take(sent(sender, tensors, 0, None)[0])
    other = (replace(SPECS[0], name="renamed"), *SPECS[1:])
    renamed = dict(zip(("renamed", *list(SHAPES)[1:]), tensors.values(), strict=True))
    assert sent(sender, renamed, 1, end.held, other)[0].change is None, "another layout"
    end.take(sent(sender, tensors, 2, None)[0])
    assert sent(sender, changed(tensors, 0.01), 3, end.held)[0].change is not None


def test_what_was_made_ready_but_never_arrived_is_followed_by_the_whole(sender: DeltaSender) -> None:
    end, tensors = End(), weights()
    end.take(sent(sender, tensors, 0, None)[0])
    assert end.held
    new = changed(tensors, 0.01)
    sender.encode(SPECS, 1, iter(new.items()), end.held)
    manifest, done = sent(sender, new, 1, end.held)
    assert manifest.change is None and end.take(manifest) == done.checksum


def test_a_change_of_another_version_is_one_clear_error_and_the_whole_can_follow(sender: DeltaSender) -> None:
    end, late, tensors = End(), End(), weights()
    for each in (end, late):
        each.take(sent(sender, tensors, 0, None)[0])
    for version in (1, 2):
        tensors = changed(tensors, 0.01, seed=version)
        manifest, _ = sent(sender, tensors, version, end.held)
        end.take(manifest)
    with pytest.raises(TransferBroken, match=r"version 2 came as a change of version 1 .* here is version 0 .* whole"):
        late.take(manifest)
    with pytest.raises(TransferBroken, match="here is no version"):
        End().take(manifest)
    whole, done = sent(sender, tensors, 2, None)
    assert late.take(whole) == done.checksum and whole.change is None


def test_a_copy_that_was_damaged_is_refused_and_of_no_version(sender: DeltaSender) -> None:
    end, tensors = End(), weights()
    end.take(sent(sender, tensors, 0, None)[0])
    assert end.keeping.copy
    end.keeping.copy.tensors()[0][1].view(-1)[3] = 7.0
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    tensors["b"][9] = 2.0
    with pytest.raises(InfrastructureError, match="changed weights of version 1 have checksum"):
        end.take(sent(sender, tensors, 1, end.held)[0])
    assert end.keeping.copy.held is None
