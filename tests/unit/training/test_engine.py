"""The engine under every trainer, in one process: its step is torch's, and it goes on from what it saved."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tracelift_ray.training.checkpoint import CheckpointError
from tracelift_ray.training.engine import EngineSettings, alone

SETTINGS = EngineSettings("test", "gloo", 0, "float32", grad_clip=0.5, startup_s=60.0, deadline_s=60.0)
DATA = torch.arange(12, dtype=torch.float32).reshape(4, 3) / 10


def model_and_optimizer():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.01}]
    return model, torch.optim.AdamW(groups)


def halved(peak):
    return peak / 2


def steps(engine, count):
    """Optimizer steps on ``DATA``, a row at a time; their norms."""
    norms = []
    for _ in range(count):
        engine.accumulate(DATA, lambda row: engine.model(row).square().sum())
        norms.append(engine.step(halved))
    return norms


def weights(engine):
    return torch.cat([parameter.detach().flatten() for parameter in engine.module.parameters()])


@pytest.mark.parametrize("stage", [0, 2])
def test_a_step_is_torchs_on_the_whole_batch_and_an_engine_may_follow_another(stage):
    model, optimizer = model_and_optimizer()
    expected = []
    for _ in range(2):
        optimizer.zero_grad()
        model(DATA).square().sum().backward()
        expected.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        for group, rate in zip(optimizer.param_groups, (0.05, 0.005), strict=True):
            group["lr"] = rate
        optimizer.step()
    with alone(replace(SETTINGS, zero_stage=stage)) as engine:
        engine.begin(*model_and_optimizer())
        assert steps(engine, 2) == pytest.approx(expected, rel=1e-5) and expected[0] > 0.5
        whole = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        torch.testing.assert_close(weights(engine), whole, rtol=1e-5, atol=1e-6)


def test_it_goes_on_from_what_it_saved_without_the_frozen_weights(tmp_path):
    def begin(engine):
        model, optimizer = model_and_optimizer()
        model[0].requires_grad_(False)
        engine.begin(model, optimizer)

    with alone(SETTINGS) as engine:
        begin(engine)
        steps(engine, 2)
        engine.save(tmp_path / "state")
        saved = torch.load(tmp_path / "state" / "state" / "mp_rank_00_model_states.pt", weights_only=False)
        assert saved["module"].keys() == {"2.weight", "2.bias"}
        draw = torch.rand(3)
        steps(engine, 1)
        expected = weights(engine)
    with alone(SETTINGS) as engine:
        begin(engine)
        torch.manual_seed(9)
        engine.restore(tmp_path / "state")
        assert torch.equal(torch.rand(3), draw)
        steps(engine, 1)
        assert torch.equal(weights(engine), expected)
        (tmp_path / "state" / "rng-0.pt").unlink()
        with pytest.raises(CheckpointError, match="lacks the state of rank 0"):
            engine.restore(tmp_path / "state")
