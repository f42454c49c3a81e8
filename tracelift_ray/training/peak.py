"""What share of a GPU's arithmetic an update uses (model FLOPs utilisation).

A token costs 6 operations for each trained parameter (2 forward, 4 backward) and 4 for each frozen one that the
gradient passes through (adapters before a frozen model). Attention, recomputed activations, the reference and log-probs
before the update are not counted, and an input embedding counts as a layer does: the share compares runs of one model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

#: Dense bfloat16 operations per second, in 10^12, by what the driver calls a device; float16 where there is no bfloat16
#: (V100). From NVIDIA's data sheets, which give some of them with sparsity, twice as many: H100, H200, A100, L40S, L4
#: and A10 Tensor Core GPU, V100, Blackwell architecture (HGX B200). SXM where the other boards are slower.
PEAK_TFLOPS = {
    r"B200": 2250.0,
    r"H200(?! NVL)": 989.0,
    r"H100 80GB HBM3": 989.0,
    r"A100": 312.0,
    r"L40S": 362.0,
    r"L4": 121.0,
    r"A10": 125.0,
    r"V100-SXM\w*": 125.0,
}
_DIVIDED = "MIG"


def peak_flops(device: torch.device) -> float | None:
    """Operations per second of a device at most; None for CPUs, divided GPUs and those that are not in the table."""
    return named_peak(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def named_peak(name: str) -> float | None:
    """The same by the device's name, such as ``NVIDIA H200``."""
    if _DIVIDED in name:
        return None
    found = (peak for pattern, peak in PEAK_TFLOPS.items() if re.search(rf"(?<!\w){pattern}(?!\w)", name))
    return next((peak * 1e12 for peak in found), None)


def token_flops(parameters: Iterable[torch.nn.Parameter]) -> float:
    """Operations that a token of an update costs. Parameters partitioned by ZeRO-3 count in full."""
    return sum((6.0 if each.requires_grad else 4.0) * full_numel(each) for each in parameters)


def full_numel(parameter: torch.nn.Parameter) -> int:
    """The elements of a parameter, of which this rank may hold a part."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
