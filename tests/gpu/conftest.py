"""Every test here needs a GPU, or a rehearsal."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.gpu.devices import REHEARSAL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Processes that are started from now on see this GPU alone."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")

    def choose(index: int) -> None:
        if not REHEARSAL:
            named = visible[index] if len(visible) > index and visible[index] else str(index)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)

    return choose
