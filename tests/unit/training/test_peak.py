"""The share of a GPU's peak that an update uses, on devices that are not here."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from tests.learner_configs import algorithm, learner
from tracelift_ray.rl import learner as module
from tracelift_ray.rl.learner import Learner
from tracelift_ray.rl.metrics import UpdateMetrics
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.peak import named_peak, peak_flops, token_flops
from tracelift_ray.training.ranks import RankPlace


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA A10", 125),
        ("Tesla V100-SXM2-32GB", 125),
        ("NVIDIA B200", 2250),
        ("NVIDIA L40", None),
        ("NVIDIA A10G", None),
        ("NVIDIA GB200", None),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
    ],
)
def test_a_device_has_the_peak_of_its_own_kind(name: str, tflops: float | None) -> None:
    assert named_peak(name) == (None if tflops is None else tflops * 1e12)


def test_the_device_of_a_rank_is_asked_for_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: {1: "NVIDIA L4"}[device.index])
    assert peak_flops(torch.device("cuda", 1)) == 121e12
    assert peak_flops(torch.device("cpu")) is None


def test_a_frozen_parameter_costs_less_and_a_partitioned_one_counts_in_full() -> None:
    trained, frozen, part = (torch.nn.Parameter(torch.zeros(size)) for size in (10, 100, 0))
    frozen.requires_grad_(False)
    part.ds_numel = 1000  # type: ignore[attr-defined]
    assert token_flops([trained, frozen, part]) == 6 * 10 + 4 * 100 + 6 * 1000


@pytest.mark.parametrize("peak", [1e6, None])
def test_an_update_says_its_share_where_the_peak_is_known(peak: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three optimizer steps on 7 tokens with 10 parameters, by two ranks in a second."""
    place = RankPlace(0, 2, "127.0.0.1", 1)
    rank = Learner(learner(), algorithm(), "model", Distribution(1.0), 1, seed=0, place=place)
    monkeypatch.setattr(module, "peak_flops", lambda device: peak)
    monkeypatch.setattr(rank._engine, "_wrapped", SimpleNamespace(module=torch.nn.Linear(10, 1, bias=False)))
    assert rank._peak_share(3 * 7, 1.0) == (None if peak is None else 3 * 7 * 60 / 2e6)


def test_a_share_that_is_not_known_is_no_metric() -> None:
    step = defaultdict(lambda: 1.0)
    shown = UpdateMetrics.of_steps([step], samples=1, micro_batches=1, seconds=2.0, peak_share=0.25).known()
    assert (shown["peak_percent"], shown["tokens_per_s"]) == (25.0, 0.5)
    missing = UpdateMetrics.of_steps([step], samples=1, micro_batches=1, seconds=2.0).known()
    assert shown.keys() - missing.keys() == {"peak_percent"}
