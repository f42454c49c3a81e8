"""The GPUs of this machine, for the tests that need some.

With ``REHEARSE_GPU_TESTS=1`` the same tests run on CPUs: gloo in place of NCCL, the machine's memory in place of a
GPU's, declared GPUs in whole runs. It shows that the tests themselves work, and says nothing of GPUs.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from tests.tiny import engine_config
from tracelift_ray.config.models import EngineConfig
from tracelift_ray.transfer.ipc import memory_of
from tracelift_ray.transfer.ipc_sender import IpcSender
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.senders import SenderSettings, WeightSender

REHEARSAL = bool(os.environ.get("REHEARSE_GPU_TESTS"))
GPUS = torch.cuda.device_count()
COLLECTIVE = "gloo" if REHEARSAL else "nccl"


def needs(count: int) -> pytest.MarkDecorator:
    """Skips a test on a machine with fewer GPUs."""
    few = not REHEARSAL and count > GPUS
    return pytest.mark.skipif(few, reason=f"needs {count} GPUs that torch can use; there are {GPUS}")


real_only = pytest.mark.skipif(REHEARSAL, reason="is about GPUs, and cannot be rehearsed without")


def device(index: int) -> torch.device:
    """One of the GPUs."""
    return torch.device("cpu") if REHEARSAL else torch.device("cuda", index)


def sender_on(index: int, transfer: str, deadline_s: float = 120.0, bucket_mib: int = 1) -> WeightSender:
    """What sends weights from one of the GPUs."""
    settings = SenderSettings(f"gpu {os.getpid()}", bucket_mib, deadline_s, address="127.0.0.1", backend=COLLECTIVE)
    if not REHEARSAL:
        torch.cuda.set_device(index)
    if transfer == "ipc":
        return IpcSender(settings, memory_of(device(index)))
    return build_weight_sender(transfer, settings)


def engine_settings(**changes: Any) -> EngineConfig:
    """An engine that leaves room on its GPU."""
    return engine_config("vllm", **{"gpu_memory_utilization": 0.3, "startup_s": 600.0, **changes})
