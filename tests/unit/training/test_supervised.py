"""A warm start says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import make_tiny_llama
from tracelift_ray.tasks.prompts import load_tokenizer
from tracelift_ray.training import supervised
from tracelift_ray.training.models import load_causal_lm


def test_writing_held_out_traces_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = make_tiny_llama(tmp_path / "model", seed=0), []
    rows = [[5, 6, 7], [5, 6]]
    written = []
    for seconds in (1e9, 0.0):
        monkeypatch.setattr(supervised, "SAY_S", seconds)
        model = load_causal_lm(path, "float32").eval()
        written.append(supervised._greedy(model, load_tokenizer(path), rows, 3, said.append))
    assert said == [f"held-out traces: {count} of at most 3 tokens" for count in (1, 2, 3)]
    assert written[0] == written[1]
