"""Small reward models for the tests of this package."""

import pytest
import torch

from tests.tiny import make_tiny_llama
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel
from tracelift_ray.tasks.math import MathTask


def _make_reward_model(path, backbone, **options):
    """Saves an untrained reward model with heads wide enough that scores differ; returns its path."""
    from transformers import AutoTokenizer

    torch.manual_seed(1)
    model = ReasoningRewardModel.from_backbone(backbone, dimension_names=MathTask.dimensions, **options)
    for head in (*model.dimension_heads, model.total_head):
        torch.nn.init.normal_(head.weight, std=1.0)
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(backbone).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="session")
def make_reward_model():
    return _make_reward_model


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("backbone"), hidden=32, context=1024)


@pytest.fixture(scope="session")
def reward_model(backbone, tmp_path_factory):
    return _make_reward_model(tmp_path_factory.mktemp("reward_model"), backbone)
