"""When the memory of a bucket is used again."""

from __future__ import annotations

import torch

from tracelift_ray.transfer.memories import Memories


def test_memory_is_used_again_once_the_last_tensor_in_it_is_gone() -> None:
    memories = Memories(torch.device("cpu"), 64)
    first = memories.take(48)
    place = first.data_ptr()
    part = first[16:32].view(torch.float32)
    del first
    second = memories.take(64)
    assert second.data_ptr() != place
    part.fill_(1.0)
    assert part.tolist() == [1.0] * 4
    del part
    third = memories.take(64)
    assert third.data_ptr() == place and third.numel() == 64
