"""Requests that no engine should be given."""

from __future__ import annotations

import pytest

from tracelift_ray.engines.base import check_context
from tracelift_ray.types import Prompt, SamplingParams


def test_a_prompt_that_does_not_fit_is_refused_with_what_to_change():
    fitting = SamplingParams(max_new_tokens=4)
    check_context(Prompt((1,) * 12, ""), fitting, 16)
    with pytest.raises(ValueError, match=r"a prompt of 13 tokens and 4 new ones exceed the context of 16: raise"):
        check_context(Prompt((1,) * 13, ""), fitting, 16)
    with pytest.raises(ValueError, match="no tokens"):
        check_context(Prompt((), ""), fitting, 16)
