"""Training of the reward model: sampling, the cutting of steps, adapters, schedule, refusals."""

import dataclasses
import itertools
import json

import pytest
import torch

from tests.rm_groups import adding_groups
from tests.tiny import make_tiny_llama
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.data.groups import write_groups
from tracelift_ray.data.split import split_heldout
from tracelift_ray.reasoning_rm.dataset import dimension_names, encode_groups, sample_epoch, split_groups
from tracelift_ray.reasoning_rm.model import ReasoningRewardModel
from tracelift_ray.reasoning_rm.settings import LoraSettings, LossSettings, TrainRmConfig, check_training
from tracelift_ray.reasoning_rm.training import RmTrainer, learning_rate_share, make_optimizer, train
from tracelift_ray.types import MATH_DIMENSIONS, DataError


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("words"), tokenizer="word", hidden=32, spread=0.05)


@pytest.fixture
def config(words, tmp_path):
    write_groups(tmp_path / "groups.jsonl", adding_groups(12))
    return TrainRmConfig(
        model=words,
        groups=str(tmp_path / "groups.jsonl"),
        output=str(tmp_path / "rm"),
        on_error="strict",
        max_tests=8,
        heldout_fraction=0.2,
        seed=0,
        epochs=1,
        max_steps=0,
        groups_per_step=4,
        groups_per_forward=4,
        negatives_per_group=4,
        max_length=128,
        eval_batch_tokens=2048,
        lr=1e-3,
        head_lr=1e-3,
        warmup_steps=2,
        weight_decay=0.01,
        grad_clip=1.0,
        dropout=0.0,
        dtype="float32",
        gradient_checkpointing=False,
        device="cpu",
        second_input_model=None,
        log_every=1,
        lora=LoraSettings(0, 8, 0.0),
        loss=LossSettings(1.0, 0.5, 0.7, 0.1, 0.15),
    )


def trainer_of(config):
    return RmTrainer(config, MATH_DIMENSIONS, say=lambda line: None)


def gradient_of(config, batch):
    trainer = trainer_of(config)
    loss = trainer._accumulate(batch)
    return loss, {name: weight.grad for name, weight in trainer.model.named_parameters() if weight.grad is not None}


def sampled(config, groups):
    encoded = encode_groups(groups, trainer_of(config)._encoder, config.max_tests)
    return list(sample_epoch(encoded, config.negatives_per_group, config.seed, epoch=0))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_does_not_depend_on_how_a_step_is_cut(config, checkpointing):
    batch = [*sampled(config, adding_groups(4)), *sampled(config, adding_groups(1, negatives=1, seed=5))]
    loss, whole = gradient_of(config, batch)
    cut = dataclasses.replace(config, groups_per_forward=2, gradient_checkpointing=checkpointing)
    other_loss, pieces = gradient_of(cut, batch)
    assert other_loss == pytest.approx(loss, rel=1e-5)
    assert whole.keys() == pieces.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=1e-4, atol=1e-6)


def test_an_epoch_shows_every_group_once_with_its_positive_first(config):
    groups = encode_groups(adding_groups(6), trainer_of(config)._encoder, 0)
    first, again, later = (list(sample_epoch(groups, 4, 0, epoch)) for epoch in (0, 0, 1))
    assert first == again != later
    for rows in (first, later):
        positives = sorted(group[0].input.token_ids for group in rows)
        assert positives == sorted(group.positives[0].input.token_ids for group in groups)
        assert all(len(group) == 5 and len({row.input.token_ids for row in group}) == 5 for group in rows)
        assert all(group[0].kind is None and all(row.kind for row in group[1:]) for group in rows)


def test_a_run_holds_out_the_same_problems():
    groups = adding_groups(40)
    train_groups, heldout = split_groups(groups, 0.25)
    expected = split_heldout([group.problem for group in groups], 0.25)
    assert tuple(group.problem for group in train_groups) == expected[0]
    assert tuple(group.problem for group in heldout) == expected[1]
    with pytest.raises(DataError, match="at least two groups"):
        split_groups(groups[:1], 0.25)


def test_heads_of_a_model_for_both_tasks_have_both_names():
    assert dimension_names({"math"}) == MATH_DIMENSIONS
    assert dimension_names({"code", "math"}) == (
        "problem_understanding|task_understanding",
        "solution_strategy|plan_quality",
        "step_coherence",
        "calculation_correctness|action_support",
        "answer_support|non_leakage",
    )


def test_adapters_and_heads_are_all_that_is_trained_and_are_merged_when_saved(config, words):
    config = dataclasses.replace(config, lora=LoraSettings(4, 8, 0.0), max_steps=3, lr=1e-2)
    result = train(config, say=lambda line: None)
    before = ReasoningRewardModel.from_backbone(words, dimension_names=MATH_DIMENSIONS).model.state_dict()
    saved = ReasoningRewardModel.from_pretrained(config.output)
    changed = {name for name, value in saved.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.endswith("_proj.weight") for name in changed)
    assert result.steps == 3 and len(result.losses) == 3


def test_the_same_configuration_gives_the_same_model(config, tmp_path):
    one = train(config, say=lambda line: None)
    other_config = dataclasses.replace(config, output=str(tmp_path / "other"))
    other = train(other_config, say=lambda line: None)
    assert one.losses == other.losses and one.heldout == other.heldout
    first, second = (ReasoningRewardModel.from_pretrained(c.output).state_dict() for c in (config, other_config))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_second_inputs_vectors_are_trained_and_saved(config, words, tmp_path):
    (tmp_path / "lm").symlink_to(words)
    config = dataclasses.replace(config, second_input_model="../lm", max_steps=2)
    trainer = trainer_of(config)
    assert trainer.model.second_input is not None
    start = trainer.model.second_input.logprob.detach().clone()
    train(config, say=lambda line: None)
    saved = ReasoningRewardModel.from_pretrained(config.output)
    assert saved.config.rm_second_input == "lm_logprob" and saved.config.rm_second_input_model == "../lm"
    assert saved.second_input is not None
    assert (saved.second_input.logprob - start).abs().min() > 0


def test_weight_decay_is_for_matrices_and_new_heads_have_their_own_rate(config):
    config = dataclasses.replace(config, lr=1e-5, head_lr=1e-3)
    model = trainer_of(config).model
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in make_optimizer(model, config).param_groups:
        for parameter in group["params"]:
            assert group["lr"] == (1e-5 if names[parameter].startswith("model.") else 1e-3)
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0.0)


def test_the_rate_rises_over_the_warm_up_and_falls_to_nothing():
    shares = [learning_rate_share(step, 10, 3) for step in range(11)]
    assert shares[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert all(a > b for a, b in itertools.pairwise(shares[3:])) and shares[10] == pytest.approx(0)


def test_nothing_is_overwritten(config, tmp_path):
    (tmp_path / "rm").mkdir()
    with pytest.raises(DataError, match="exists already"):
        train(config)


def test_a_gradient_that_is_no_number_ends_the_run_and_leaves_nothing(config, tmp_path):
    with pytest.raises(ConfigError, match=r"^lr=.*not a number"):
        train(dataclasses.replace(config, lr=1e30, head_lr=1e30, max_steps=20), say=lambda line: None)
    assert not (tmp_path / "rm").exists()


def test_metrics_are_kept_beside_the_weights(config):
    result = train(config, say=lambda line: None)
    with open(f"{config.output}/metrics.json") as stream:
        record = json.load(stream)
    assert record["heldout"]["pair_accuracy"] == result.heldout.pair_accuracy
    assert record["losses"] == list(result.losses) and record["config"]["seed"] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("heldout_fraction", 0.0),
        ("groups_per_step", 0),
        ("lr", 0.0),
        ("dropout", 1.0),
        ("dtype", "float16"),
        ("device", "tpu"),
        ("on_error", "ignore"),
        ("model", ""),
        ("warmup_steps", -1),
    ],
)
def test_a_wrong_value_is_refused_by_name(config, key, value):
    with pytest.raises(ConfigError, match=f"^{key}="):
        check_training(dataclasses.replace(config, **{key: value}))
