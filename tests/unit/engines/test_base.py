"""The choice of an engine, and requests that no engine should be given."""

from __future__ import annotations

import pytest

from tests.tiny import engine_config
from tracelift_ray.config.schema import RemoteConfig
from tracelift_ray.engines.base import build_engine, check_context
from tracelift_ray.types import Prompt, SamplingParams

REMOTE = RemoteConfig("http://127.0.0.1:1/v1", "m", "completions", "", 4, 1.0, 0)


def test_a_prompt_that_does_not_fit_is_refused_with_what_to_change():
    fitting = SamplingParams(max_new_tokens=4)
    check_context(Prompt((1,) * 12, ""), fitting, 16)
    with pytest.raises(ValueError, match=r"a prompt of 13 tokens and 4 new ones exceed the context of 16: raise"):
        check_context(Prompt((1,) * 13, ""), fitting, 16)
    with pytest.raises(ValueError, match="no tokens"):
        check_context(Prompt((), ""), fitting, 16)


def test_combinations_that_cannot_work_are_refused_before_anything_starts():
    with pytest.raises(ValueError, match="unknown engine kind 'magic': use one of vllm, transformers, openai"):
        build_engine(engine_config("magic"), "", trainable=False)
    with pytest.raises(ValueError, match="an openai engine cannot be trained"):
        build_engine(engine_config("openai"), "", trainable=True, remote=REMOTE)
    with pytest.raises(ValueError, match="needs the configuration of its server"):
        build_engine(engine_config("openai"), "", trainable=False)
    with pytest.raises(ValueError, match="by shared_memory only, not 'nccl'"):
        build_engine(engine_config("transformers"), "", trainable=True, weight_transfer="nccl")
    with pytest.raises(ValueError, match="unknown weight transfer 'smoke'"):
        build_engine(engine_config("vllm"), "", trainable=True, weight_transfer="smoke")


def test_every_kind_is_built_without_starting():
    for kind in ("vllm", "transformers", "openai"):
        assert build_engine(engine_config(kind), "nowhere", trainable=False, remote=REMOTE).version == 0
