"""The frozen language model's log-probs, aligned to the reward model's tokens of the trace."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tracelift_ray.reasoning_rm.batching import InputEncoder
from tracelift_ray.reasoning_rm.inputs import render_input
from tracelift_ray.reasoning_rm.second_input import FrozenLogprobs, LogprobEmbedding, align, executor_text
from tracelift_ray.types import DataError, Problem

PROBLEM = Problem(id="1", task="math", statement="2 and 3?", answer="5")


def test_align_sums_the_tokens_that_start_within_a_span():
    spans = [(0, 0), (-4, 0), (0, 2), (2, 3), (3, 6)]
    values = align(spans, [(0, -1.0), (1, -2.0), (4, -0.5)])
    assert [math.isnan(value) for value in values] == [True, True, False, True, False]
    assert (values[2], values[4]) == (-3.0, -0.5)


def test_logprobs_are_the_frozen_models_own_for_each_token_of_the_trace(backbone):
    frozen = FrozenLogprobs(backbone)
    text, (start, end) = executor_text(PROBLEM, "2 + 3 = 5")
    assert text == "<math> 2 and 3? <reasoning> 2 + 3 = 5 </reasoning>"
    tokenizer, model = AutoTokenizer.from_pretrained(backbone), AutoModelForCausalLM.from_pretrained(backbone)
    encoded = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    chances = torch.log_softmax(model(input_ids=encoded["input_ids"]).logits[0], -1)
    expected = [
        chances[i - 1, encoded["input_ids"][0, i]].item()
        for i, (a, b) in enumerate(encoded["offset_mapping"][0].tolist())
        if start <= a < end
    ]
    (read,) = frozen.read([(PROBLEM, "2 + 3 = 5")])
    assert [value for _, value in read] == pytest.approx(expected, abs=1e-5)
    assert [place for place, _ in read] == list(range(len("2 + 3 = 5")))  # the tokenizer's tokens are bytes


def test_each_token_of_the_trace_has_a_value_and_no_other_has(backbone):
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    encoder = InputEncoder(tokenizer, 1024, FrozenLogprobs(backbone))
    (encoded,) = encoder.encode([(PROBLEM, " 2 + 3 = 5 ")])
    rendered = render_input(PROBLEM, " 2 + 3 = 5 ")
    offsets = tokenizer(rendered.text, return_offsets_mapping=True)["offset_mapping"]
    inside = [rendered.start <= a < rendered.end for a, _ in offsets]
    assert encoded.logprobs is not None
    assert [not math.isnan(value) for value in encoded.logprobs] == inside


def test_values_do_not_depend_on_the_batch(backbone):
    frozen, small = FrozenLogprobs(backbone), FrozenLogprobs(backbone, max_batch_tokens=10)
    items = [(PROBLEM, "2 + 3 = 5"), (PROBLEM, "one " * 40), (PROBLEM, "5")]
    for one, other in zip(frozen.read(items), small.read(items), strict=True):
        assert [value for _, value in one] == pytest.approx([value for _, value in other], abs=1e-4)


def test_tokens_beyond_the_models_context_have_no_value(backbone):
    (read,) = FrozenLogprobs(backbone).read([(PROBLEM, "x" * 3000)])
    assert len(read) == 1024 - len(AutoTokenizer.from_pretrained(backbone)("<math> 2 and 3? <reasoning> ")["input_ids"])


def test_the_embedding_adds_nothing_without_a_value_and_clamps_the_improbable():
    embedding = LogprobEmbedding(4)
    added = embedding(torch.tensor([[math.nan, -0.1, -8.0, -50.0]]))
    assert added[0, 0].abs().max() == 0
    torch.testing.assert_close(added[0, 1], -0.1 / 4 * embedding.logprob)
    torch.testing.assert_close(added[0, 2], -2.0 * embedding.logprob + embedding.surprising)
    torch.testing.assert_close(added[0, 3], added[0, 2])


def test_a_missing_frozen_model_is_named(tmp_path):
    with pytest.raises(DataError, match="second input's model"):
        FrozenLogprobs(tmp_path / "nowhere")
