"""The wire format of a weight broadcast, and both ends of the shared-memory one."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.hang import HANG_S
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer import shared_memory_reader
from tracelift_ray.transfer.checksums import DeviceChecksum
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import ITEM_BYTES, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import SenderSettings, SilentSender, own_address, parameter_specs
from tracelift_ray.transfer.shared_memory import layout
from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader
from tracelift_ray.transfer.shared_memory_sender import SharedMemorySender


def test_elements_are_as_large_as_in_torch() -> None:
    assert {name: getattr(torch, name).itemsize for name in ITEM_BYTES} == ITEM_BYTES


def tensors() -> list[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 5), "b": (7,), "c": (2, 2, 2), "scalar": ()}
    return [(name, torch.randn(shape, generator=generator)) for name, shape in shapes.items()]


@pytest.fixture
def sender():
    each = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 10.0))
    yield each
    each.close()


def sent(sender: SharedMemorySender, dtype: str = "float32", version: int = 3):
    manifest = sender.describe(parameter_specs(tensors(), dtype), version)
    return manifest, sender.send(manifest, tensors()).checksum


def received_from(manifest: WeightManifest) -> tuple[dict[str, torch.Tensor], str]:
    reader = SharedMemoryReader(manifest, "test")
    try:
        return dict(reader.tensors()), reader.verify()
    finally:
        reader.close()


def test_layout_aligns_every_tensor_and_ends_after_the_last():
    offsets, end = layout((TensorSpec("a", (3,), "bfloat16"), TensorSpec("b", (17,), "float32")))
    assert offsets == (0, 64) and end == 64 + 128


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_read_is_what_was_sent(sender, dtype):
    manifest, checksum = sent(sender, dtype)
    read, received = received_from(manifest)
    assert received == checksum
    assert list(read) == [name for name, _ in tensors()]
    for name, tensor in tensors():
        assert torch.equal(read[name], tensor.to(getattr(torch, dtype)))


def test_a_changed_byte_is_refused(sender):
    manifest, _ = sent(sender)
    with open(manifest.location, "r+b") as file:
        file.seek(70)
        byte = file.read(1)
        file.seek(70)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(InfrastructureError, match="arrived with checksum"):
        received_from(manifest)


def test_a_tensor_is_read_as_soon_as_it_is_written_and_the_rest_is_waited_for(sender):
    manifest = sender.describe(parameter_specs(tensors(), "float32"), 3)
    read = threading.Semaphore(0)

    def slowly():
        for pair in tensors():
            yield pair
            read.acquire(timeout=HANG_S)  # the writer comes back for the next one once this one has been read

    with ThreadPoolExecutor(1) as other:
        sending = other.submit(sender.send, manifest, slowly())
        reader = SharedMemoryReader(manifest, "test")
        for (name, tensor), (wanted_name, wanted) in zip(reader.tensors(), tensors(), strict=True):
            assert name == wanted_name and torch.equal(tensor, wanted) and not sending.done()
            read.release()
        assert reader.verify() == sending.result().checksum
        reader.close()


def test_a_receiver_learns_that_the_sender_gave_up(sender):
    manifest = sender.describe(parameter_specs(tensors(), "float32"), 3)
    reader = SharedMemoryReader(manifest, "test")
    with pytest.raises(ValueError, match="was described but not sent"):
        sender.send(manifest, tensors()[:2])
    with pytest.raises(InfrastructureError, match="the learner gave up sending version 3"):
        list(reader.tensors())
    reader.close()


def test_a_receiver_waits_no_longer_than_the_deadline(sender):
    manifest = replace(sender.describe(parameter_specs(tensors(), "float32"), 3), deadline_s=0.05)
    with pytest.raises(InfrastructureError, match=r"waited 0\.05 s for tensor 1 of 4 of version 3"):
        received_from(manifest)


def test_a_file_that_cannot_be_mapped_is_named_and_left_closed(sender, monkeypatch):
    manifest = sender.describe(parameter_specs(tensors(), "float32"), 3)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(shared_memory_reader.mmap, "mmap", full)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(InfrastructureError, match=f"cannot map {manifest.location}: Cannot allocate memory"):
        SharedMemoryReader(manifest, "test")
    assert os.listdir("/proc/self/fd") == before


def mappings(manifest: WeightManifest) -> int:
    """How often this process, which is both ends, has the file mapped."""
    return Path("/proc/self/maps").read_text().count(manifest.location)


def test_a_mapping_goes_once_its_last_tensor_has(sender):
    manifest = sender.describe(parameter_specs(tensors(), "float32"), 3)
    sender.send(manifest, tensors())
    reader = SharedMemoryReader(manifest, "test")
    read = dict(reader.tensors())
    reader.close()
    assert all(torch.equal(read[name], wanted) for name, wanted in tensors())
    assert mappings(manifest) == 2
    read.clear()
    ends = time.monotonic() + HANG_S
    while mappings(manifest) > 1:  # the sender's
        assert time.monotonic() < ends, "still mapped"
        time.sleep(0.01)


def test_no_room_is_found_out_before_any_receiver_is_told(sender):
    stats = os.statvfs("/dev/shm")
    more = stats.f_blocks * stats.f_frsize + 2**30
    with pytest.raises(InfrastructureError, match=r"no space in /dev/shm for version 4.*--shm-size") as caught:
        sender.describe((TensorSpec("a", (more,), "uint8"),), 4)
    assert "\n" not in str(caught.value)
    assert not list(Path("/dev/shm").glob(f"*-{os.getpid()}-v4"))


def test_a_missing_or_short_file_is_named(sender):
    manifest, _ = sent(sender)
    os.truncate(manifest.location, 100)
    with pytest.raises(InfrastructureError, match="has 100 bytes instead of"):
        SharedMemoryReader(manifest, "test")
    sender.release(manifest.version)
    with pytest.raises(InfrastructureError, match="on one machine; across machines use collective"):
        SharedMemoryReader(manifest, "test")


def test_equal_weights_have_equal_checksums_in_every_version(sender):
    assert sent(sender, version=1)[1] == sent(sender, version=2)[1]


def test_close_leaves_nothing_in_shared_memory(sender):
    first, second = sent(sender, version=1)[0], sent(sender, version=2)[0]
    sender.release(1)
    assert not Path(first.location).exists() and Path(second.location).exists()
    sender.release(2)
    sent(sender, version=3)
    sender.close()
    assert not list(Path("/dev/shm").glob(f"*-{os.getpid()}-v*"))


def test_one_version_after_the_other_is_written_to_the_same_memory(sender):
    first = os.stat(sent(sender, version=1)[0].location).st_ino
    sender.release(1)
    second = sender.describe(parameter_specs(tensors(), "float32"), 2)
    assert os.stat(second.location).st_ino == first
    with pytest.raises(InfrastructureError, match="waited"):  # nothing of the first version counts
        received_from(replace(second, deadline_s=0.05))
    assert sender.send(second, tensors()).checksum == received_from(second)[1]


def test_memory_of_another_size_or_of_a_version_that_broke_off_is_not_used_again(sender):
    sent(sender, version=1)
    sender.release(1)
    sender.describe(parameter_specs(tensors()[:2], "float32"), 2)
    assert len(list(Path("/dev/shm").glob(f"*-{os.getpid()}-v*"))) == 1
    with pytest.raises(ValueError, match="was described but not sent"):
        sender.send(sender.describe(parameter_specs(tensors(), "float32"), 3), tensors()[:1])
    sender.release(3)
    sender.release(2)
    assert not list(Path("/dev/shm").glob(f"*-{os.getpid()}-v*"))


def test_files_of_a_killed_run_are_removed_when_it_is_started_again():
    gone = Path("/dev/shm/tracelift-killed_run-4194305-v7")  # above the largest process id that Linux gives
    alive = Path(f"/dev/shm/tracelift-killed_run-{os.getppid()}-v7")
    gone.touch()
    alive.touch()
    try:
        SharedMemorySender(SenderSettings("killed run", 1, 10.0))
        assert not gone.exists() and alive.exists()
    finally:
        alive.unlink()


def test_tensors_that_were_not_described_are_refused(sender):
    manifest = sender.describe(parameter_specs(tensors(), "float32"), 5)
    with pytest.raises(ValueError, match=r"got c \[2, 2, 2\] where b \[7\] was described"):
        sender.send(manifest, [tensors()[0], tensors()[2]])
    assert not Path(manifest.location).exists()
    manifest = sender.describe(parameter_specs(tensors(), "float32"), 6)
    with pytest.raises(ValueError, match="scalar was described but not sent"):
        sender.send(manifest, tensors()[:-1])
    manifest = sender.describe(parameter_specs(tensors()[:1], "float32"), 7)
    with pytest.raises(ValueError, match="where nothing more was described"):
        sender.send(manifest, tensors())


def test_a_slow_learner_is_told_of_the_deadline(sender):
    def slow():
        for pair in tensors():
            time.sleep(0.02)
            yield pair

    manifest = replace(sender.describe(parameter_specs(tensors(), "float32"), 8), deadline_s=0.03)
    with pytest.raises(InfrastructureError, match=r"sending version 8 took more than 0\.03 s"):
        sender.send(manifest, slow())


def test_a_rank_that_does_not_send_still_takes_part_in_gathering():
    produced = iter(tensors())
    silent = build_weight_sender("shared_memory", SenderSettings("test", 1, 1.0, rank=1))
    assert isinstance(silent, SilentSender)
    manifest = WeightManifest(1, "shared_memory", (), "", 1, False, 1.0)
    assert silent.send(manifest, produced).checksum == ""
    assert next(produced, None) is None


def test_specs_give_the_full_shape_of_a_partitioned_parameter():
    partitioned = torch.nn.Parameter(torch.empty(0))
    partitioned.ds_shape = torch.Size([4, 6])  # type: ignore[attr-defined]
    whole = torch.nn.Parameter(torch.empty(2))
    assert parameter_specs([("p", partitioned), ("w", whole)], "bfloat16") == (
        TensorSpec("p", (4, 6), "bfloat16"),
        TensorSpec("w", (2,), "bfloat16"),
    )


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="unknown weight transfer 'carrier pigeon'"):
        build_weight_sender("carrier pigeon", SenderSettings("test", 1, 1.0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_ipc_says_that_it_needs_a_gpu():
    with pytest.raises(ValueError, match="weight transfer ipc needs a GPU"):
        build_weight_sender("ipc", SenderSettings("test", 1, 1.0))


def test_own_address_is_an_address():
    assert own_address().count(".") == 3


def device_checksum(values: list[torch.Tensor]) -> int:
    checksum = DeviceChecksum(torch.device("cpu"))
    for value in values:
        checksum.add(value)
    return int(checksum.tensor().item())


def test_device_checksum_tells_order_place_and_content_apart():
    one, two = torch.arange(64, dtype=torch.bfloat16), torch.ones(5, dtype=torch.float32)
    swapped = one.clone()
    swapped[[3, 4]] = swapped[[4, 3]]
    flipped = one.clone()
    flipped.view(torch.int16)[63] ^= 1
    sums = [
        device_checksum(each)
        for each in ([one, two], [two, one], [swapped, two], [flipped, two], [one], [one[:-1], two])
    ]
    assert len(set(sums)) == len(sums)
    assert device_checksum([one, two]) == sums[0]


def test_device_checksum_does_not_depend_on_alignment_or_on_how_it_is_cut(monkeypatch):
    packed = torch.randint(0, 256, (1023,), dtype=torch.uint8)
    whole = device_checksum([packed[3:1003].clone()])
    assert device_checksum([packed[3:1003]]) == whole
    monkeypatch.setattr(DeviceChecksum, "_CHUNK", 7)
    assert device_checksum([packed[3:1003].clone()]) == whole
