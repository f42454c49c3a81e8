"""The reward model: heads, scores, and its Hugging Face directory."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Qwen2Config, Qwen2ForCausalLM

from tracelift_ray.reasoning_rm.model import ReasoningRewardModel, RewardModelError
from tracelift_ray.types import MATH_DIMENSIONS


def batch(*rows):
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def test_the_saved_directory_names_architecture_keys_and_weights(reward_model):
    with open(f"{reward_model}/config.json") as stream:
        config = json.load(stream)
    assert config["architectures"] == ["LlamaForReasonRewardModel"]
    assert config["rm_dimension_names"] == list(MATH_DIMENSIONS)
    assert config["rm_dimension_weights"] == pytest.approx([0.2] * 5)
    assert (config["rm_num_labels"], config["rm_use_total_head"], config["classifier_dropout"]) == (5, True, 0.0)
    weights = load_file(f"{reward_model}/model.safetensors")
    heads = {f"dimension_heads.{i}.{part}" for i in range(5) for part in ("weight", "bias")}
    assert {name for name in weights if not name.startswith("model.")} == {
        *heads,
        "total_head.weight",
        "total_head.bias",
    }
    assert weights["dimension_heads.4.weight"].shape == (5, 32)


def test_other_backbones_get_their_own_class_and_survive_saving(tmp_path):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "qwen")
    made = ReasoningRewardModel.from_backbone(tmp_path / "qwen", dimension_names=MATH_DIMENSIONS).eval()
    made.save_pretrained(tmp_path / "rm")
    loaded = ReasoningRewardModel.from_pretrained(tmp_path / "rm")
    assert type(loaded).__name__ == "Qwen2ForReasonRewardModel"
    ids, mask = batch([3, 4, 5], [6, 7])
    torch.testing.assert_close(loaded(ids, mask).score, made(ids, mask).score)


def test_the_backbone_is_the_pretrained_one(backbone, reward_model):
    original, loaded = AutoModel.from_pretrained(backbone), ReasoningRewardModel.from_pretrained(reward_model).model
    for name, weight in original.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weight, rtol=0, atol=0)


def test_scores_follow_the_formula(reward_model):
    model = ReasoningRewardModel.from_pretrained(reward_model)
    ids, mask = batch([5, 6, 7, 8])
    hidden = model.model(input_ids=ids).last_hidden_state[0, -1]
    labels = []
    for head in model.dimension_heads:
        chances = torch.softmax(head.weight @ hidden + head.bias, 0).tolist()
        labels.append(sum(label * chance for label, chance in enumerate(chances)))
    assert model.total_head is not None
    total = torch.sigmoid(model.total_head.weight[0] @ hidden + model.total_head.bias[0]).item()
    derived = sum(0.2 * label / 4 for label in labels)
    output = model(ids, mask)
    assert output.expected_labels[0].tolist() == pytest.approx(labels, abs=1e-5)
    assert output.derived.item() == pytest.approx(derived, abs=1e-6)
    assert output.total.item() == pytest.approx(total, abs=1e-6)
    assert output.score.item() == pytest.approx(0.5 * derived + 0.5 * total, abs=1e-6)


def test_padding_on_the_right_changes_nothing(reward_model):
    model = ReasoningRewardModel.from_pretrained(reward_model)
    rows = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14]]
    together = model(*batch(*rows)).score
    alone = torch.stack([model(*batch(row)).score[0] for row in rows])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert (together[0] - together[1]).abs() > 1e-3


def test_without_a_total_head_the_derived_score_is_the_score(backbone, tmp_path):
    made = ReasoningRewardModel.from_backbone(backbone, dimension_names=MATH_DIMENSIONS)
    made.config.rm_use_total_head, made.total_head = False, None
    made.save_pretrained(tmp_path / "rm")
    output = ReasoningRewardModel.from_pretrained(tmp_path / "rm")(*batch([5, 6, 7]))
    torch.testing.assert_close(output.score, output.derived)


@pytest.mark.parametrize(
    "spoil", ["missing", "no_config", "no_weights", "backbone", "no_heads", "misshapen", "torn", "broken", "four"]
)
def test_a_directory_that_is_no_reward_model_is_refused_in_one_line(spoil, backbone, reward_model, tmp_path):
    path = tmp_path / "rm"
    if spoil != "missing":
        shutil.copytree(backbone if spoil == "backbone" else reward_model, path)
    weights, config = path / "model.safetensors", path / "config.json"
    if spoil in ("no_weights", "no_config"):
        (weights if spoil == "no_weights" else config).unlink()
    elif spoil == "no_heads":
        kept = {name: value for name, value in load_file(weights).items() if "heads.2" not in name}
        save_file(kept, weights, metadata={"format": "pt"})
    elif spoil == "misshapen":
        save_file({**load_file(weights), "total_head.weight": torch.zeros(1, 7)}, weights, metadata={"format": "pt"})
    elif spoil == "torn":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif spoil == "broken":
        config.write_text("{")
    elif spoil == "four":
        values = json.loads(config.read_text())
        values["rm_dimension_names"].pop()
        config.write_text(json.dumps(values))
    told = {
        "missing": "is not a directory",
        "no_config": "has no config.json",
        "no_weights": "no weights",
        "backbone": "is a LlamaForCausalLM, not a reasoning reward model",
        "no_heads": "dimension_heads.2",
        "misshapen": "total_head.weight",
        "torn": "weights that cannot be read",
        "broken": "cannot be read",
        "four": "five names",
    }
    with pytest.raises(RewardModelError, match=told[spoil]) as error:
        ReasoningRewardModel.from_pretrained(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_second_input_that_is_missing_or_unasked_for_is_refused(backbone, reward_model):
    ids, mask = batch([5, 6])
    with pytest.raises(ValueError, match="second input"):
        ReasoningRewardModel.from_pretrained(reward_model)(ids, mask, torch.zeros(1, 2))
    two = ReasoningRewardModel.from_backbone(backbone, dimension_names=MATH_DIMENSIONS, second_input_model="../lm")
    with pytest.raises(ValueError, match="second input"):
        two(ids, mask)
