"""A warm start says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import make_tiny_llama
from tracelift_ray.tasks.prompts import load_tokenizer
from tracelift_ray.tracking.alive import Heartbeat
from tracelift_ray.training import supervised
from tracelift_ray.training.models import load_causal_lm


def test_held_out_traces_are_counted_token_by_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_tiny_llama(tmp_path / "model", seed=0)
    beat, counted = Heartbeat(print, "loading"), list[tuple[int, int]]()
    monkeypatch.setattr(beat, "doing", lambda what, done, total: counted.append((done, total)))
    model = load_causal_lm(path, "float32").eval()
    supervised._greedy(model, load_tokenizer(path), [[5, 6, 7], [5, 6]], 3, beat)
    assert counted == [(1, 3), (2, 3), (3, 3)]
