"""What the tests of signs of life share."""

from __future__ import annotations

import pytest

from tests.unit.launch.watching import Watched
from tracelift_ray.tracking import alive


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(alive, "SILENT_S", 0.01)
    return Watched()
