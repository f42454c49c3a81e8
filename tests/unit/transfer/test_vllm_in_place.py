"""Which parameters are found to lie where their weights arrived."""

from __future__ import annotations

import torch

from tracelift_ray.transfer.vllm_in_place import Copies

FILE = torch.arange(64, dtype=torch.float32).view(torch.uint8)


def arrived(start: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor that lies in the file from element ``start`` on."""
    raw = FILE[start * dtype.itemsize :][: dtype.itemsize * torch.Size(shape).numel()]
    return raw.view(dtype).reshape(shape)


def parameter(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def test_a_fused_parameter_whose_parts_follow_each_other_is_a_view_of_them() -> None:
    copies, fused = Copies(), parameter(6, 4)
    copies.note(fused[2:3], arrived(16, 1, 4))  # in whichever order they are loaded
    copies.note(fused[3:], arrived(20, 3, 4))
    copies.note(fused[:2], arrived(8, 2, 4))
    found = copies.take(fused)
    assert found is not None and torch.equal(found, arrived(8, 6, 4))
    assert found.data_ptr() == arrived(8, 6, 4).data_ptr()
    assert found[2:3].copy_(arrived(16, 1, 4)).data_ptr() == arrived(16, 1, 4).data_ptr()
    assert copies.take(fused) is None, "what was copied for one version says nothing of the next"


def test_parts_in_another_order_or_with_gaps_are_copied() -> None:
    swapped, gap, part, twice = (Copies() for _ in range(4))
    fused = parameter(4, 4)
    for copies, starts in ((swapped, (8, 0)), (gap, (0, 12)), (part, (0,)), (twice, (0, 8, 8))):
        for place, start in zip((fused[:2], fused[2:], fused[2:]), starts, strict=False):
            copies.note(place, arrived(start, 2, 4))
        assert copies.take(fused) is None


def test_parts_of_several_files_are_copied() -> None:
    copies, fused = Copies(), parameter(2, 4)
    copies.note(fused[:1], arrived(0, 1, 4))
    copies.note(fused[1:], FILE.clone().view(torch.float32)[4:8].reshape(1, 4))
    assert copies.take(fused) is None


def test_what_is_converted_transposed_or_written_otherwise_is_copied() -> None:
    for source in (arrived(0, 4, 4, dtype=torch.bfloat16), arrived(0, 4, 4).t()):
        copies, weight = Copies(), parameter(4, 4)
        copies.note(weight, source)
        assert copies.take(weight) is None
    copies, weight = Copies(), parameter(4, 4)
    copies.note(weight, arrived(0, 4, 4))
    copies.spoil(weight[:1])
    copies.note(weight, arrived(0, 4, 4))
    assert copies.take(weight) is None
