"""GPUs of a process, with NVIDIA's bindings played by a module of the test."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from tracelift_ray.gpu_usage import GpuMeter
from tracelift_ray.usage import UsageMeter


class NVMLError(Exception):
    pass


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A driver with three devices, busy by 10, 20 and 30 percent."""
    module = ModuleType("pynvml")
    busy = {0: 10, 1: 20, "GPU-third": 30}
    played = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetHandleByUUID": lambda name: name,
        "nvmlDeviceGetUtilizationRates": lambda device: SimpleNamespace(gpu=busy[device]),
        "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(used=busy[device], total=40),
    }
    for name, value in played.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def test_the_mean_is_over_the_devices_that_this_process_sees(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-third")
    assert GpuMeter().read() == {"gpu_percent": 25.0, "gpu_memory_percent": 62.5}
    assert UsageMeter(children=False).read({"preemptions": 1.0}).figures == {
        "gpu_percent": 25.0,
        "gpu_memory_percent": 62.5,
        "preemptions": 1.0,
    }


@pytest.mark.parametrize("devices", [None, "", "-1"])
def test_a_process_without_devices_reads_none(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch, devices: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if devices is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert GpuMeter().read() == {}


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetUtilizationRates"])
def test_a_driver_that_cannot_say_leaves_the_figures_out(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refused(*_: object) -> None:
        raise NVMLError("not supported")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(driver, call, refused)
    assert GpuMeter().read() == {}


def test_without_the_bindings_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert GpuMeter().read() == {}
