"""What vLLM's processes find in their environment."""

import os

import pytest

from tests.tiny import engine_config
from tracelift_ray.engines.vllm_arguments import set_environment

COMPILING = "TORCH_COMPILE_DISABLE"


@pytest.mark.parametrize(("eager", "found"), [(True, "1"), (False, None)])
def test_an_eager_engine_compiles_nothing(monkeypatch, eager, found):
    monkeypatch.setattr(os, "environ", {})
    set_environment(engine_config("vllm", enforce_eager=eager))
    assert os.environ.get(COMPILING) == found
