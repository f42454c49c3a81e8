from collections.abc import Iterator

import pytest

from tests.unit.groups.code_cases import SANDBOX
from tracelift_ray.groups.code_trials import Trials


@pytest.fixture(scope="session")
def trials() -> Iterator[Trials]:
    """One sandbox for all tests that run programs."""
    sandbox = Trials(SANDBOX)
    yield sandbox
    sandbox.close()
