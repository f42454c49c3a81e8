"""How tensors become buckets and come out again, over a wire that is a list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.unit.transfer.test_collective import specs, tensors
from tracelift_ray.transfer.buckets import Receiver, as_bytes, plan_buckets, send
from tracelift_ray.transfer.memories import Memories

BUCKET = 4096
CPU = torch.device("cpu")


class Wire:
    """Keeps what is sent; gives it out as often as asked."""

    device = CPU

    def __init__(self) -> None:
        self.memories = Memories(CPU, BUCKET)
        self.sent: list[torch.Tensor] = []
        self.last = torch.empty(0)

    def room(self) -> torch.Tensor:
        self.sent.append(torch.zeros(BUCKET, dtype=torch.uint8))
        return self.sent[-1]

    def ship(self, length: int) -> None:
        assert length <= BUCKET
        self.sent[-1] = self.sent[-1][:length]

    def end(self, digests: torch.Tensor) -> None:
        self.last = digests

    def fill(self, memories: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        for bucket, memory in zip(self.sent, memories, strict=True):
            yield memory.copy_(bucket)

    def digests(self, count: int) -> torch.Tensor:
        assert len(self.last) == count
        return self.last


def test_what_was_packed_comes_out_whole_and_in_order() -> None:
    weights = [*tensors(), ("nothing", torch.empty(0, 3)), ("last", torch.ones(2))]
    wire = Wire()
    digests = send(wire, specs(weights), iter(weights), BUCKET)
    taking = Receiver(wire, specs(weights), BUCKET)
    found = dict(taking.tensors())
    assert list(found) == [name for name, tensor in weights if tensor.numel()]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights if tensor.numel())
    assert torch.equal(taking.verify(), digests)


def test_a_stream_that_goes_on_or_fails_after_its_last_tensor_is_found_out() -> None:
    def more() -> Iterator[tuple[str, torch.Tensor]]:
        yield from tensors()
        raise ValueError("something more")

    with pytest.raises(ValueError, match="something more"):
        send(Wire(), specs(tensors()), more(), BUCKET)


def test_buckets_hold_every_byte_once_in_order_and_no_more_than_fits() -> None:
    sizes = [1, 64, 65, 5000, 0, 4096, 12_345]
    plan = plan_buckets(sizes, BUCKET)
    at = [0] * len(sizes)
    for pieces in plan:
        for piece in pieces:
            assert piece.start == at[piece.tensor] < piece.end and piece.offset % 64 == 0
            assert piece.offset + piece.end - piece.start <= BUCKET
            at[piece.tensor] = piece.end
    assert at == sizes
    assert plan_buckets([], BUCKET) == []


def test_the_bytes_of_a_tensor_are_its_own() -> None:
    assert as_bytes(torch.tensor([1, 2], dtype=torch.int16)).tolist() == [1, 0, 2, 0]
