"""The training of the demo's reasoning RM: what it starts from, what a step is given, and that it learns."""

from pathlib import Path
from random import Random

import pytest
import torch

import tracelift_ray.demo
from tracelift_ray.demo.faults import CARRIED, TOLD, WORKED
from tracelift_ray.demo.rm_training import deepened, draw_group, fit_rm, garbled, mark_groups
from tracelift_ray.demo.source import group_of
from tracelift_ray.demo.tokenizer import build_tokenizer, vocabulary
from tracelift_ray.demo.traces import is_valid
from tracelift_ray.demo.training import Recipe
from tracelift_ray.demo.world import read_statement
from tracelift_ray.reasoning_rm.model.batching import InputEncoder
from tracelift_ray.reasoning_rm.model.prefixes import build_tree

EXECUTOR = Path(tracelift_ray.demo.__file__).parent / "checkpoints" / "executor"
WORLD = read_statement("math", "tom has 7 pens . then buys 5 more . then gives ann 3 back . how many pens now ?")
FLAWED = [("7 + 5 = 13 ; 12 - 3", "slip"), ("7 + 5 = 12 ; 12 + 3", "wrong_operation")]


@pytest.fixture(scope="module")
def deep():
    return deepened(EXECUTOR)


def test_the_new_layers_change_nothing_at_first(deep):
    from transformers import AutoModel

    ids = torch.tensor([[vocabulary()[word] for word in WORLD.statement.split()]])
    own = AutoModel.from_pretrained(EXECUTOR, dtype=torch.float32).eval()
    assert deep.config.num_hidden_layers == own.config.num_hidden_layers + 3
    with torch.no_grad():
        expected, found = own(ids).last_hidden_state, deep.eval().model(ids).last_hidden_state
    assert torch.allclose(expected, found, atol=1e-5)


def test_marks_lie_at_the_tokens_of_their_words():
    batch = mark_groups([(WORLD, group_of(WORLD, FLAWED))] * 2)
    ids = batch.trees.input_ids
    words = {index: word for word, index in vocabulary().items()}
    marked = [
        (tree, words[int(ids[tree, token])], aspect, bool(faulty))
        for (tree, token, aspect), faulty in zip(batch.places.tolist(), batch.faulty, strict=True)
    ]
    one = [
        ("5", TOLD, False),
        ("7", CARRIED, False),
        ("12", WORKED, False),
        ("3", TOLD, False),
        ("12", CARRIED, False),
        ("13", WORKED, True),
        ("3", TOLD, False),
        ("12", CARRIED, True),
        ("3", TOLD, True),  # behind another operation; what stands before it is shared with the valid trace
    ]
    assert sorted(marked) == sorted((tree, *mark) for tree in (0, 1) for mark in one)
    assert batch.targets.sizes == (3, 3) and batch.targets.labels[:3].tolist()[0] == [4] * 5
    assert batch.targets.totals[0] == 1.0 > batch.targets.totals[1]
    ends = [words[int(ids[tree, token])] for tree, token in batch.trees.ends.tolist()]
    assert ends == ["</reasoning>"] * 6


def test_a_step_is_given_the_very_tokens_that_a_scorer_reads():
    group = group_of(WORLD, FLAWED)
    batch = mark_groups([(WORLD, group)])
    traces = [trace.reasoning for trace in (*group.positives, *group.negatives)]
    read = InputEncoder(build_tokenizer(), 256).encode([(group.problem, trace) for trace in traces])
    assert {tuple(tree.tolist()) for tree in batch.trees.input_ids} == {
        build_tree([e.token_ids for e in read]).token_ids
    }
    assert vocabulary()["<unk>"] not in batch.trees.input_ids


def test_the_next_word_is_learned_along_a_trace_but_not_where_it_is_a_fault():
    batch = mark_groups([(WORLD, group_of(WORLD, FLAWED))])
    words = {index: word for word, index in vocabulary().items()}
    ids = batch.trees.input_ids
    learned = {(words[int(ids[tree, token])], words[word]) for tree, token, word in batch.words.tolist()}
    assert {("=", "12"), ("12", ";"), (";", "12"), ("-", "3"), ("3", "</reasoning>"), ("13", ";")} <= learned
    assert ("=", "13") not in learned


def test_groups_are_drawn_from_the_seed_with_habits_and_garbled_words_among_the_flaws():
    drawn = [draw_group(rng) for rng in [Random(1)] for _ in range(60)]
    again = [draw_group(rng) for rng in [Random(1)] for _ in range(60)]
    assert drawn == again
    kinds = {trace.negative_kind for _, group in drawn for trace in group.negatives}
    assert {"habit", "miswritten", "garbled", "slip", "value"} <= kinds
    for world, group in drawn:
        assert not any(is_valid(world, trace.reasoning) for trace in group.negatives)


def test_garbling_touches_one_word():
    rng, text = Random(2), "7 + 5 = 12 ; 12 - 3"
    lengths = {len(garbled(rng, text).split()) - len(text.split()) for _ in range(50)}
    assert lengths == {-1, 0, 1}


def test_a_few_steps_lower_the_loss_and_move_every_layer(deep):
    torch.manual_seed(0)
    rng = Random(0)
    before = {name: value.detach().clone() for name, value in deep.named_parameters()}
    untrained = fit_rm(deep, lambda: draw_group(rng), Recipe(steps=1, rows_per_step=3, lr=1e-9, warmup_steps=1))
    trained = fit_rm(
        deep, lambda: draw_group(rng), Recipe(steps=14, rows_per_step=3, lr=2e-3, warmup_steps=3), log_every=3
    )
    assert trained < untrained - 1
    assert all(not torch.equal(before[name], value) for name, value in deep.named_parameters())
