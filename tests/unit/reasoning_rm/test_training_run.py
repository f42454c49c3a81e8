"""What a training of the reward model is made of: data, sampling, adapters, the schedule, its work directory."""

import dataclasses
import itertools

import pytest
import torch

from tests.configs import reread
from tests.rm_groups import adding_groups, training_config
from tests.tiny import make_tiny_llama
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.data.problems import load_problems
from tracelift_ray.data.rubric_records import load_rubric_records, write_rubric_records
from tracelift_ray.data.split import split_heldout
from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.model.batching import InputEncoder
from tracelift_ray.reasoning_rm.model.inputs import render_input
from tracelift_ray.reasoning_rm.training.adapters import (
    add_adapters,
    make_optimizer,
    new_model,
    trained_tensors,
    whole_model,
)
from tracelift_ray.reasoning_rm.training.data import (
    dimension_names,
    encode_groups,
    load_data,
    sample_epoch,
    split_groups,
)
from tracelift_ray.reasoning_rm.training.metrics import measure
from tracelift_ray.reasoning_rm.training.passes import prepare, score_groups
from tracelift_ray.reasoning_rm.training.settings import LoraSettings, LossSettings, RankSettings, check_training
from tracelift_ray.reasoning_rm.training.trainer import EpochSchedule, train
from tracelift_ray.reasoning_rm.training.work import Progress, WorkDirectory, best_weights, progress_of
from tracelift_ray.tasks.math import MathTask


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("words"), tokenizer="word", hidden=32, layers=3, spread=0.05)


@pytest.fixture
def config(words, tmp_path):
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(12))
    return training_config(words, str(tmp_path / "groups.jsonl"), str(tmp_path / "rm"))


def encoded(config, groups):
    encoder = InputEncoder.load(config.model, config.max_length, show_problem=config.show_problem)
    return encode_groups(groups, encoder, config.max_tests)


def test_an_epoch_shows_every_group_once_with_its_positive_first(config):
    groups = encoded(config, adding_groups(6))
    first, again, later = (list(sample_epoch(groups, 4, 0, epoch)) for epoch in (0, 0, 1))
    assert first == again != later
    for rows in (first, later):
        positives = sorted(group[0].input.token_ids for group in rows)
        assert positives == sorted(group.positives[0].input.token_ids for group in groups)
        assert all(len(group) == 5 and len({row.input.token_ids for row in group}) == 5 for group in rows)
        assert all(group[0].kind is None and all(row.kind for row in group[1:]) for group in rows)


def test_what_a_step_shows_follows_from_the_step_alone(config):
    groups = encoded(config, adding_groups(7))
    config = dataclasses.replace(config, groups_per_step=3, epochs=2)
    schedule = EpochSchedule(groups, config)
    assert (schedule.steps_per_epoch, schedule.steps) == (3, 6)
    steps = [schedule.batch(step) for step in range(1, 7)]
    assert [len(batch) for batch in steps] == [3, 3, 1, 3, 3, 1]
    assert [group for batch in steps[3:] for group in batch] == list(sample_epoch(groups, 4, 0, 1))
    assert EpochSchedule(groups, config).batch(5) == steps[4]
    assert EpochSchedule(groups, dataclasses.replace(config, max_steps=4)).steps == 4


def test_a_run_holds_out_the_same_problems():
    groups = adding_groups(40)
    train_groups, heldout = split_groups(groups, 0.25)
    expected = split_heldout([group.problem for group in groups], 0.25)
    assert tuple(group.problem for group in train_groups) == expected[0]
    assert tuple(group.problem for group in heldout) == expected[1]
    with pytest.raises(DataError, match="at least two groups"):
        split_groups(groups[:1], 0.25)


def test_a_file_of_held_out_groups_must_have_other_problems(config, tmp_path):
    other = [dataclasses.replace(group, problem=renamed(group.problem)) for group in adding_groups(3, seed=7)]
    write_rubric_records(tmp_path / "held.jsonl", other)
    config = dataclasses.replace(config, heldout_groups=str(tmp_path / "held.jsonl"))
    data = load_data(config, say=lambda line: None)
    assert (len(data.train), len(data.heldout), data.names) == (12, 3, MathTask.dimensions)
    again = dataclasses.replace(adding_groups(1)[0].problem, id="another id, the same text")
    write_rubric_records(tmp_path / "held.jsonl", [dataclasses.replace(other[0], problem=again)])
    with pytest.raises(DataError, match=r"another id, the same text is in .*groups\.jsonl and in .*held\.jsonl"):
        load_data(config, say=lambda line: None)


def renamed(problem):
    return dataclasses.replace(problem, id=f"held-{problem.id}")


def test_heads_of_a_model_for_both_tasks_have_both_names():
    assert dimension_names({"math"}) == MathTask.dimensions
    assert dimension_names({"code", "math"}) == (
        "problem_understanding|task_understanding",
        "solution_strategy|plan_quality",
        "step_coherence",
        "calculation_correctness|action_support",
        "answer_support|non_leakage",
    )


def test_a_trace_only_model_reads_the_trace_and_nothing_of_the_problem(config):
    one, other = adding_groups(2)
    swapped = dataclasses.replace(one, problem=dataclasses.replace(other.problem, task_type="other"))
    blind = dataclasses.replace(config, show_problem=False)
    assert encoded(blind, [one]) == encoded(blind, [swapped])
    assert encoded(config, [one]) != encoded(config, [swapped])


@pytest.mark.parametrize("layers", [0, 1])
def test_adapters_and_heads_are_all_that_is_trained(config, layers):
    lora = LoraSettings(4, 8, 0.0, layers)
    model = new_model(config, MathTask.dimensions)
    add_adapters(model, lora)
    names = trained_tensors(model).keys()
    assert {name for name in names if not name.startswith("model.")} == {
        *(f"dimension_heads.{head}.{part}" for head in range(5) for part in ("weight", "bias")),
        "total_head.weight",
        "total_head.bias",
    }
    adapted = {name.split(".")[2] for name in names if name.startswith("model.")}
    assert all("lora_" in name for name in names if name.startswith("model."))
    assert adapted == ({"0", "1", "2"} if layers == 0 else {"2"})
    with pytest.raises(ConfigError, match=r"^lora\.layers=4: must be at most 3"):
        add_adapters(new_model(config, MathTask.dimensions), LoraSettings(4, 8, 0.0, 4))


def test_a_whole_model_scores_as_the_one_with_adapters_did(config):
    config = dataclasses.replace(config, lora=LoraSettings(4, 8, 0.0, 2))
    torch.manual_seed(3)
    model = new_model(config, MathTask.dimensions)
    add_adapters(model, config.lora)
    trained = {name: torch.randn_like(tensor) * 0.3 for name, tensor in trained_tensors(model).items()}
    with torch.no_grad():
        for name, tensor in trained_tensors(model).items():
            tensor.copy_(trained[name])
    whole = whole_model(config, MathTask.dimensions, trained)
    ids = torch.tensor([[5, 6, 7, 8]])
    ours, theirs = (m.eval()(ids, torch.ones_like(ids)).score for m in (model, whole))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    assert not any("lora" in name for name in whole.state_dict())
    assert (ours - 0.5).abs() > 1e-3


def test_scores_of_groups_do_not_depend_on_shared_prefixes_or_batches(config, reward_model):
    from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel

    model = ReasoningRewardModel.from_pretrained(reward_model)
    groups = encoded(config, adding_groups(5))
    ways = [
        score_groups(model, groups, 0, batch_tokens=tokens, share_prefixes=shared, dtype="float32")
        for tokens, shared in ((10_000, False), (10_000, True), (60, True))
    ]
    for way in ways[1:]:
        for group, expected in zip(way, ways[0], strict=True):
            scores = [trace.score for trace in expected.traces]
            assert [trace.score for trace in group.traces] == pytest.approx(scores, abs=1e-5)
            assert [trace.kind for trace in group.traces] == [trace.kind for trace in expected.traces]
    assert measure(ways[0], MathTask.dimensions).groups == 5
    apart, shared = (prepare(groups[0].traces, share).tokens for share in (False, True))
    assert shared < apart / 2


def test_weight_decay_is_for_matrices_and_new_heads_have_their_own_rate(config):
    config = dataclasses.replace(config, lr=1e-5, head_lr=1e-3)
    model = new_model(config, MathTask.dimensions)
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in make_optimizer(model, config).param_groups:
        for parameter in group["params"]:
            rate = 1e-5 if names[parameter].startswith("model.") else 1e-3
            assert group["lr"] == rate
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0.0)


def test_a_checkpoint_is_kept_with_the_best_weights_and_older_ones_go(config):
    work = WorkDirectory(config)
    assert work.newest() is None
    for step in (3, 6, 9):
        progress = Progress(step, best_step=3, best=(0.5, 0.75, 0.1), worse_since=step // 3 - 1, seconds=1.5)
        work.publish(work.draft(step), progress, {"total_head.weight": torch.full((1, 2), float(step))})
    newest = WorkDirectory(config).newest()
    assert newest is not None and progress_of(newest) == progress
    assert best_weights(newest)["total_head.weight"].tolist() == [[9.0, 9.0]]
    assert sorted(path.name for path in (work.path / "checkpoints").iterdir()) == ["step-000006", "step-000009"]


def test_an_unfinished_run_is_not_mixed_with_another(config, tmp_path):
    work = WorkDirectory(config)
    work.publish(work.draft(3), Progress(3), {})
    WorkDirectory(dataclasses.replace(config, log_every=5, save_every=1))
    with pytest.raises(DataError, match=r"rm\.work holds an unfinished run with lr=0\.001, and this one has 0\.5"):
        WorkDirectory(dataclasses.replace(config, lr=0.5))
    with pytest.raises(DataError, match=r"unfinished run with ranks\.workers=1"):
        WorkDirectory(dataclasses.replace(config, ranks=RankSettings(2, 0, 1.0, 1.0)))
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(13))
    with pytest.raises(DataError, match=r"groups \(content\)"):
        WorkDirectory(config)


def test_nothing_is_overwritten(config, tmp_path):
    (tmp_path / "rm").mkdir()
    with pytest.raises(DataError, match="exists already"):
        train(config)


BAD_VALUES = [
    ("heldout_fraction", 0.0),
    ("groups_per_step", 0),
    ("micro_batch_tokens", 0),
    ("lr", 0.0),
    ("dropout", 1.0),
    ("dtype", "float16"),
    ("save_dtype", "int8"),
    ("device", "tpu"),
    ("on_error", "ignore"),
    ("model", ""),
    ("warmup_steps", -1),
    ("patience", -1),
    ("wandb", "yes"),
    ("lora", LoraSettings(4, 8, 0.0, -1)),
    ("ranks", RankSettings(0, 0, 1.0, 1.0)),
    ("ranks", RankSettings(1, 4, 1.0, 1.0)),
    ("loss", LossSettings(1.0, 0.5, -0.7, 0.0, 0.15, 0.0)),
]


@pytest.mark.parametrize(("key", "value"), BAD_VALUES)
def test_a_wrong_value_is_refused_by_name(config, key, value):
    with pytest.raises(ConfigError, match=rf"^{key}[=.]"):
        check_training(reread(dataclasses.replace(config, **{key: value})))


def test_an_auxiliary_loss_without_shared_prefixes_is_refused(config):
    with pytest.raises(ConfigError, match=r"^loss\.prefix=0\.5: must be 0 where share_prefixes=false"):
        check_training(dataclasses.replace(config, share_prefixes=False))


def test_the_order_of_steps_has_no_repeats_within_an_epoch(config):
    schedule = EpochSchedule(encoded(config, adding_groups(8)), config)
    firsts = [group[0].input.token_ids for step in (1, 2) for group in schedule.batch(step)]
    assert all(a != b for a, b in itertools.combinations(firsts, 2))


@pytest.mark.parametrize("text", ["assert f( 1 )==2\n\nassert f(2) == 3", "n <= 10"])
def test_a_run_on_the_same_file_shows_the_text_that_the_rm_was_trained_on(tmp_path, text):
    record = adding_groups(1)[0]
    bounded = dataclasses.replace(record, problem=dataclasses.replace(record.problem, tests_text=text))
    write_rubric_records(tmp_path / "groups.jsonl", [bounded])
    trained = load_rubric_records(tmp_path / "groups.jsonl").records[0].problem
    run = load_problems(tmp_path / "groups.jsonl", "groups", max_tests=1).records[0]
    assert render_input(run, "r").text == render_input(trained, "r").text
    assert f"<tests>\n{text}\n</tests>" in render_input(run, "r").text
