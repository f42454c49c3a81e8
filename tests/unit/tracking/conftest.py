from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hang import HANG_S
from tests.unit.tracking.browser import started_chromium
from tests.unit.tracking.long_runs import write_long_run
from tests.unit.tracking.test_report import make_run
from tracelift_ray.tracking import alive
from tracelift_ray.tracking.report import write_report


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for the tests of one file: while it runs, no other event loop does."""
    with started_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of 20,000 traces, in its run directory."""
    run = write_long_run(make_run(tmp_path_factory.mktemp("long") / "run", "tracelift", 3, 0.75))
    return write_report([run]).page


@pytest.fixture
def wandb_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B's own caches inside the test's directory, and its background service ended afterwards; it may take long."""
    monkeypatch.setattr(alive, "SILENT_S", HANG_S)
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    import wandb

    wandb.teardown()
