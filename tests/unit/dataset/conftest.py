from collections.abc import Iterator

import pytest

from tests.unit.dataset.code_cases import SANDBOX
from tracelift_ray.dataset.code_rules.trials import Trials


@pytest.fixture(scope="session")
def trials() -> Iterator[Trials]:
    """One sandbox for all tests that run programs."""
    sandbox = Trials(SANDBOX)
    yield sandbox
    sandbox.close()
