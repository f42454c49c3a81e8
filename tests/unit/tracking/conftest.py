from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.tracking.browser import started_chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for the tests of one file: while it runs, no other event loop does."""
    with started_chromium() as browser:
        yield browser
