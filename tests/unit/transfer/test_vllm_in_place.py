"""Which parameters are found to lie where their weights arrived, and which layers are packed without vLLM's loaders."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.vllm_in_place import Copies, InPlace, _Direct, _place

FILE = torch.arange(64, dtype=torch.float32).view(torch.uint8)


def arrived(start: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor that lies in the file from element ``start`` on."""
    raw = FILE[start * dtype.itemsize :][: dtype.itemsize * torch.Size(shape).numel()]
    return raw.view(dtype).reshape(shape)


def parameter(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def test_a_fused_parameter_whose_parts_follow_each_other_is_found() -> None:
    copies, fused = Copies(), parameter(6, 4)
    copies.note(fused[2:3], arrived(16, 1, 4))  # in whichever order they are loaded
    copies.note(fused[3:], arrived(20, 3, 4))
    copies.note(fused[:2], arrived(8, 2, 4))
    found = copies.take(fused)
    assert [part.data_ptr() for part in found] == [arrived(start, 1).data_ptr() for start in (8, 16, 20)]
    assert torch.equal(found[0].as_strided((6, 4), (4, 1)), arrived(8, 6, 4))
    assert not copies.take(fused), "what was copied for one version says nothing of the next"


def test_parts_in_another_order_or_with_gaps_are_copied() -> None:
    swapped, gap, part, twice = (Copies() for _ in range(4))
    fused = parameter(4, 4)
    for copies, starts in ((swapped, (8, 0)), (gap, (0, 12)), (part, (0,)), (twice, (0, 8, 8))):
        for place, start in zip((fused[:2], fused[2:], fused[2:]), starts, strict=False):
            copies.note(place, arrived(start, 2, 4))
        assert not copies.take(fused)


def test_parts_of_several_files_are_copied() -> None:
    copies, fused = Copies(), parameter(2, 4)
    copies.note(fused[:1], arrived(0, 1, 4))
    copies.note(fused[1:], FILE.clone().view(torch.float32)[4:8].reshape(1, 4))
    assert not copies.take(fused)


def test_what_is_converted_transposed_or_written_otherwise_is_copied() -> None:
    for source in (arrived(0, 4, 4, dtype=torch.bfloat16), arrived(0, 4, 4).t()):
        copies, weight = Copies(), parameter(4, 4)
        copies.note(weight, source)
        assert not copies.take(weight)
    copies, weight = Copies(), parameter(4, 4)
    copies.note(weight, arrived(0, 4, 4))
    copies.spoil(weight[:1])
    copies.note(weight, arrived(0, 4, 4))
    assert not copies.take(weight)


class Packed(_Direct):
    """Keeps what would be packed."""

    def pack(self, parts: Mapping[str, torch.Tensor]) -> None:
        self.layer.append([parts[name].data_ptr() for name in self.names])


def test_a_known_layer_is_packed_from_where_it_lies_and_the_others_go_to_the_loaders() -> None:
    packed: list = []
    loads = InPlace()
    loads._direct = dict.fromkeys("qk", Packed(packed, ("q", "k"), torch.Size((2, 4))))
    arriving = ((name, arrived(start, 1, 4)) for name, start in zip("nqkm", (0, 4, 8, 12), strict=True))
    assert "".join(name for name, _ in loads._others(arriving)) == "nm"
    assert packed == [[arrived(4, 1).data_ptr(), arrived(8, 1).data_ptr()]]


@pytest.mark.parametrize("starts", [(4, 12), (8, 4)], ids=["a gap", "another order"])
def test_a_known_layer_that_lies_otherwise_is_refused(starts: tuple[int, int]) -> None:
    parts = {name: arrived(start, 1, 4) for name, start in zip("qk", starts, strict=True)}
    with pytest.raises(InfrastructureError, match="q lies otherwise than a version before"):
        _Direct(None, ("q", "k"), torch.Size((2, 4))).pack(parts)


def test_what_a_layer_was_loaded_from_is_kept_where_the_weight_is_all_of_it() -> None:
    class Layer:
        weight = parameter(2, 4)

    class Info:
        kernel_tensors: tuple = ({"weight": torch.empty(0)}, {})

    loads = InPlace()
    sources = [arrived(4, 1, 4), arrived(8, 1, 4)]
    loads._names = {_place(each): name for name, each in zip("qk", sources, strict=True)}
    loads._learn(Layer(), Info(), sources)
    assert loads._direct["q"] is loads._direct["k"] and loads._direct["q"].names == ("q", "k")
    for kernel in (({"weight": torch.empty(0), "bias": torch.empty(4)}, {}), ({"weight": torch.empty(8)}, {})):
        Info.kernel_tensors, other = kernel, InPlace()
        other._names = loads._names
        other._learn(Layer(), Info(), sources)
        assert not other._direct
    unknown = InPlace()
    unknown._learn(Layer(), Info(), sources)
    assert not unknown._direct
