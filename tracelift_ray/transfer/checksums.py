"""Checksums that prove that the tensors which arrived are the tensors that were sent, on the CPU and on GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def hex_checksum(value: int) -> str:
    """A 64-bit checksum as 16 hex digits; ``value`` may be signed."""
    return f"{value & 0xFFFFFFFFFFFFFFFF:016x}"


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, without a copy."""
    import torch

    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


class HostChecksum:
    """xxh3_64 of the bytes of CPU tensors, in the order in which they are added."""

    def __init__(self) -> None:
        import xxhash

        self._hash = xxhash.xxh3_64()

    def add(self, data: memoryview) -> None:
        self._hash.update(data)

    def value(self) -> int:
        return self._hash.intdigest()


class DeviceChecksum:
    """A checksum that is computed where the tensors are, with integer arithmetic that is exact on every device.

    Each tensor is read as 32-bit words w_i (zero-padded); its digest is the sum of (w_i xor k1)·(2i + k2) modulo 2^64.
    The digests d_t of the tensors are joined as h = h·k3 + d_t. It detects permuted, missing and stale bytes, which is
    what a transfer can get wrong; it is no defence against an attacker.
    """

    _FLIP, _OFFSET, _JOIN = 0x5BD1E995, 0x9E3779B97F4A7C15 - (1 << 64), 0x2545F4914F6CDD1D
    _CHUNK = 1 << 24  # words at a time: 128 MiB of scratch for each intermediate

    def __init__(self, device: torch.device) -> None:
        import torch

        self._state = torch.zeros(1, dtype=torch.int64, device=device)

    def add(self, tensor: torch.Tensor) -> None:
        import torch

        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if raw.numel() % 4:
            raw = torch.nn.functional.pad(raw, (0, 4 - raw.numel() % 4))
        # A view must start at a multiple of the wider type's size; packed tensors of mixed types may not.
        words = (raw if raw.data_ptr() % 4 == 0 and raw.storage_offset() % 4 == 0 else raw.clone()).view(torch.int32)
        digest = torch.zeros_like(self._state)
        for start in range(0, words.numel(), self._CHUNK):
            part = words[start : start + self._CHUNK].to(torch.int64) ^ self._FLIP
            index = torch.arange(start, start + part.numel(), dtype=torch.int64, device=part.device)
            digest += (part * (2 * index + self._OFFSET)).sum()
        self._state = self._state * self._JOIN + digest

    def tensor(self) -> torch.Tensor:
        """The checksum so far: int64, shape (1,), on the device."""
        return self._state.clone()
