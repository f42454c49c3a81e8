"""How busy the GPUs of this process are, as NVIDIA's driver says (its Python bindings come with vLLM's GPU build)."""

from __future__ import annotations

import os
from typing import Any

MIB = 2**20


class GpuMeter:
    """Reads the devices in ``CUDA_VISIBLE_DEVICES``; a process without any, or a machine without the driver, has none.

    A figure counts all processes on a device, and is the mean over the devices of this process.
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._devices: list[Any] = []
        names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name and name != "-1"]
        if names:
            self._open(names)

    def _open(self, names: list[str]) -> None:
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            for name in names:
                by = pynvml.nvmlDeviceGetHandleByIndex if name.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID
                self._devices.append(by(int(name) if name.isdecimal() else name))
        except pynvml.NVMLError:
            self._devices.clear()
        self._nvml = pynvml

    def read(self) -> dict[str, float]:
        """``gpu_percent``: time in which something ran on it, and ``gpu_memory_percent``; empty where neither can be
        read, as in a part of a divided GPU."""
        if not self._devices:
            return {}
        try:
            rates = [self._nvml.nvmlDeviceGetUtilizationRates(device).gpu for device in self._devices]
            memory = [self._nvml.nvmlDeviceGetMemoryInfo(device) for device in self._devices]
        except self._nvml.NVMLError:
            return {}
        held = [100.0 * each.used / each.total for each in memory]
        return {"gpu_percent": sum(rates) / len(rates), "gpu_memory_percent": sum(held) / len(held)}
