"""The reward model: heads, scores, and its Hugging Face directory."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Qwen2Config, Qwen2ForCausalLM

from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel, RewardModelError, shows_problem
from tracelift_ray.tasks.math import MathTask


def batch(*rows):
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def test_the_saved_directory_names_architecture_keys_and_weights(reward_model):
    with open(f"{reward_model}/config.json") as stream:
        config = json.load(stream)
    assert config["architectures"] == ["LlamaForReasonRewardModel"]
    assert config["rm_dimension_names"] == list(MathTask.dimensions)
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
    made = ReasoningRewardModel.from_backbone(tmp_path / "qwen", dimension_names=MathTask.dimensions).eval()
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


def released_checkpoint(path, weights):
    """A random checkpoint as the authors' release has it: names of weights and keys of the configuration."""
    generator = torch.Generator().manual_seed(5)
    hidden, inner, vocabulary, layers = 16, 24, 50, 2
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        shapes |= {at + "input_layernorm.weight": (hidden,), at + "post_attention_layernorm.weight": (hidden,)}
        shapes |= {f"{at}self_attn.{n}_proj.weight": (o, hidden) for n, o in (("q", hidden), ("k", 8), ("v", 8))}
        shapes |= {f"{at}self_attn.{n}_proj.bias": (o,) for n, o in (("q", hidden), ("k", 8), ("v", 8))}
        shapes |= {at + "self_attn.o_proj.weight": (hidden, hidden), at + "mlp.down_proj.weight": (hidden, inner)}
        shapes |= {f"{at}mlp.{n}_proj.weight": (inner, hidden) for n in ("gate", "up")}
    for head in range(5):
        shapes |= {f"dimension_heads.{head}.weight": (5, hidden), f"dimension_heads.{head}.bias": (5,)}
    shapes |= {"total_head.weight": (1, hidden), "total_head.bias": (1,)}
    tensors = {name: torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()}
    path.mkdir()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["Qwen2ForReasonRewardModel"],
        "model_type": "qwen2",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "rm_dimension_names": list(MathTask.dimensions),
        "rm_dimension_weights": weights,
        "rm_num_labels": 5,
        "rm_use_total_head": True,
        "classifier_dropout": 0.1,
    }
    (path / "config.json").write_text(json.dumps(config))
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}


def qwen2_hidden(w, ids):
    """The last token's hidden state of the released checkpoint's backbone, written out in NumPy."""
    heads, size = 2, 8

    def norm(x, weight):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight

    def turn(x):
        """Rotary positions on (tokens, heads, size)."""
        angles = np.arange(len(ids))[:, None] / 10000.0 ** (np.arange(0, size, 2) / size)
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        a, b = x[..., : size // 2], x[..., size // 2 :]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    x = w["model.embed_tokens.weight"][ids]
    for layer in range(2):
        at = f"model.layers.{layer}."
        y = norm(x, w[at + "input_layernorm.weight"])
        q, k, v = (y @ w[f"{at}self_attn.{n}_proj.weight"].T + w[f"{at}self_attn.{n}_proj.bias"] for n in "qkv")
        q, k, v = turn(q.reshape(-1, heads, size)), turn(k.reshape(-1, 1, size)), v.reshape(-1, 1, size)
        scores = np.einsum("ihd,jgd->hij", q, k) / np.sqrt(size)
        scores += np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hij,jgd->ihd", shares, v).reshape(len(ids), -1)
        x = x + mixed @ w[at + "self_attn.o_proj.weight"].T
        y = norm(x, w[at + "post_attention_layernorm.weight"])
        gate = y @ w[at + "mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w[at + "mlp.up_proj.weight"].T)) @ w[at + "mlp.down_proj.weight"].T
    return norm(x, w["model.norm.weight"])[-1]


@pytest.mark.parametrize("by_name", [False, True])
def test_a_checkpoint_of_the_authors_release_scores_as_their_formula_says(by_name, tmp_path):
    weights = [0.3, 0.1, 0.2, 0.25, 0.15]
    named = dict(zip(MathTask.dimensions, weights, strict=True))
    w = released_checkpoint(tmp_path / "rm", named if by_name else weights)
    model = ReasoningRewardModel.from_pretrained(tmp_path / "rm")
    assert type(model).__name__ == "Qwen2ForReasonRewardModel"
    rows = [[3, 17, 4, 49, 8, 8, 21], [5, 9, 2], [30]]
    output = model(*batch(*rows))
    for place, row in enumerate(rows):
        hidden = qwen2_hidden(w, row)
        labels = []
        for head in range(5):
            chances = np.exp(w[f"dimension_heads.{head}.weight"] @ hidden + w[f"dimension_heads.{head}.bias"])
            labels.append(chances @ np.arange(5) / chances.sum())
        total = 1 / (1 + np.exp(-(w["total_head.weight"][0] @ hidden + w["total_head.bias"][0])))
        score = 0.5 * sum(a * b for a, b in zip(weights, labels, strict=True)) / 4 + 0.5 * total
        assert output.expected_labels[place].tolist() == pytest.approx(labels, abs=1e-5)
        assert output.score[place].item() == pytest.approx(score, abs=1e-5)


def test_a_model_that_is_not_shown_the_problem_says_so(backbone, tmp_path):
    made = ReasoningRewardModel.from_backbone(backbone, dimension_names=MathTask.dimensions, show_problem=False)
    made.save_pretrained(tmp_path / "rm")
    assert not shows_problem(ReasoningRewardModel.from_pretrained(tmp_path / "rm").config)
    made.config.rm_input = "answer"
    with pytest.raises(RewardModelError, match="rm_input is 'answer'"):
        shows_problem(made.config)


def test_an_untrained_model_gives_every_trace_the_same_score(backbone):
    made = ReasoningRewardModel.from_backbone(backbone, dimension_names=MathTask.dimensions)
    assert made(*batch([5, 6, 7], [8])).score.tolist() == [0.5, 0.5]


def test_padding_on_the_right_changes_nothing(reward_model):
    model = ReasoningRewardModel.from_pretrained(reward_model)
    rows = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14]]
    together = model(*batch(*rows)).score
    alone = torch.stack([model(*batch(row)).score[0] for row in rows])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert (together[0] - together[1]).abs() > 1e-3


def test_without_a_total_head_the_derived_score_is_the_score(backbone, tmp_path):
    made = ReasoningRewardModel.from_backbone(backbone, dimension_names=MathTask.dimensions)
    made.config.rm_use_total_head, made.total_head = False, None
    made.save_pretrained(tmp_path / "rm")
    output = ReasoningRewardModel.from_pretrained(tmp_path / "rm")(*batch([5, 6, 7]))
    torch.testing.assert_close(output.score, output.derived)


@pytest.mark.parametrize(
    "spoil",
    [
        "missing",
        "no_config",
        "no_weights",
        "backbone",
        "no_heads",
        "misshapen",
        "torn",
        "broken",
        "four",
        "unknown",
        "weights",
        "named_weights",
    ],
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
    elif spoil in ("unknown", "weights", "named_weights"):
        values = json.loads(config.read_text())
        if spoil == "unknown":
            values["rm_dimension_names"][2] = "elegance"
        elif spoil == "weights":
            values["rm_dimension_weights"] = [0.2, 0.2, 0.2, 0.2, 0.3]
        else:
            values["rm_dimension_weights"] = {**dict.fromkeys(MathTask.dimensions, 0.2), "elegance": 0.0}
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
        "unknown": "rm_dimension_names has 'elegance'; it must be one of action_support",
        "weights": "must sum to 1",
        "named_weights": "elegance",
    }
    with pytest.raises(RewardModelError, match=told[spoil]) as error:
        ReasoningRewardModel.from_pretrained(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
