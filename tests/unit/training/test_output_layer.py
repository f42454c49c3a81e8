"""Completion scores from the output layer in chunks: those of the plain form, without the logits of all tokens."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tracelift_ray.training import logprobs
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.microbatches import collate, completion_logits
from tracelift_ray.training.output_layer import CompletionScorer
from tracelift_ray.types import TrainSample

CPU = torch.device("cpu")
VOCABULARY, CHUNK = 600, 16
SAMPLED = Distribution(0.8)
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM),
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CHUNK", CHUNK)


def tiny(family: str, *, tied: bool = False, recomputed: bool = False) -> Any:
    config, model = FAMILIES[family]
    torch.manual_seed(0)
    made = model(
        config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            tie_word_embeddings=tied,
            initializer_range=0.3,
            pad_token_id=0,
            attn_implementation="eager" if family == "gemma2" else "sdpa",
        )
    ).train()
    if recomputed:
        made.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return made


def samples(count: int = 5) -> list[TrainSample]:
    rng = random.Random(1)
    drawn = []
    for number in range(count):
        prompt, completion = (
            tuple(rng.randrange(VOCABULARY) for _ in range(size)) for size in (3 + number, 17 - number)
        )
        drawn.append(TrainSample(prompt, completion, (0.0,) * len(completion), 1.0))
    return drawn


def plain_scores(model: Any, sample: TrainSample) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one sample alone, from all of its logits."""
    logits = model(input_ids=torch.tensor([sample.prompt_ids + sample.completion_ids])).logits[0]
    every = torch.log_softmax(logits[len(sample.prompt_ids) - 1 : -1] / SAMPLED.temperature, -1)
    return every[range(len(sample.completion_ids)), list(sample.completion_ids)], -(every.exp() * every).sum(-1)


def gradients(model: Any, logprobs: torch.Tensor) -> list[torch.Tensor]:
    weights = torch.linspace(-1, 1, len(logprobs))
    return list(torch.autograd.grad((logprobs * weights).sum(), list(model.parameters())))


def apart(left: torch.Tensor, right: torch.Tensor) -> float:
    """The distance of two tensors relative to the size of the second."""
    return ((left - right).norm() / right.norm()).item()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_scores_and_gradients_are_those_of_all_logits(family: str, tied: bool, recomputed: bool, packed: bool) -> None:
    model = tiny(family, tied=tied, recomputed=recomputed)
    scorer = CompletionScorer(model, CPU)
    assert scorer.chunked
    batch = collate(samples(), [1.0] * 5, CPU, packed=packed)
    assert len(batch.targets) > 2 * CHUNK
    found, entropy = scorer.scores(batch, SAMPLED)
    plain = [plain_scores(model, sample) for sample in samples()]
    expected = torch.cat([one for one, _ in plain])
    assert apart(found, expected) < 1e-6
    assert apart(entropy, torch.cat([one for _, one in plain])) < 1e-6 and not entropy.requires_grad
    for here, there in zip(gradients(model, found), gradients(model, expected), strict=True):
        assert apart(here, there) < 1e-5  # attention over other shapes rounds in another way


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_chunks_change_no_gradient(family: str, tied: bool, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(family, tied=tied)
    batch = collate(samples(), [1.0] * 5, CPU, packed=packed)
    chunked = CompletionScorer(model, CPU).scores(batch, SAMPLED)[0]
    monkeypatch.setattr(logprobs, "CHUNK", 10_000)
    whole = logprobs.token_scores(completion_logits(model, batch), batch.targets, SAMPLED)[0]
    assert apart(chunked, whole) < 1e-6
    for here, there in zip(gradients(model, chunked), gradients(model, whole), strict=True):
        assert apart(here, there) < 1e-6


class _Largest(TorchDispatchMode):
    """Notes the most rows of vocabulary size that any one tensor has."""

    rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.ndim and tensor.shape[-1] == VOCABULARY:
                self.rows = max(self.rows, tensor.numel() // VOCABULARY)
        return result


@pytest.mark.parametrize("packed", [False, True])
def test_logits_exist_for_one_chunk_at_a_time(packed: bool) -> None:
    model = tiny("llama")
    for parameter in model.get_input_embeddings().parameters():
        parameter.requires_grad_(False)
    scorer = CompletionScorer(model, CPU)
    batch = collate(samples(), [1.0] * 5, CPU, packed=packed)
    with _Largest() as chunked:
        scorer.scores(batch, SAMPLED)[0].sum().backward()
    # The transposed weights of the layer have as many rows as hidden states have numbers.
    assert chunked.rows <= max(CHUNK, 32)
    with _Largest() as plain:
        logprobs.token_scores(completion_logits(model, batch), batch.targets, SAMPLED)[0].sum().backward()
    assert plain.rows >= len(batch.targets) > 2 * CHUNK


def test_a_model_that_changes_its_logits_keeps_the_plain_form() -> None:
    model = tiny("gemma2").eval()
    scorer = CompletionScorer(model, CPU)
    assert not scorer.chunked
    batch = collate(samples(), [1.0] * 5, CPU)
    expected = torch.cat([plain_scores(model, sample)[0] for sample in samples()])
    assert apart(scorer.scores(batch, SAMPLED)[0], expected) < 1e-5


def test_an_empty_micro_batch_still_reaches_every_weight() -> None:
    model = tiny("llama")
    found = CompletionScorer(model, CPU).scores(collate((), (), CPU), SAMPLED)[0]
    assert found.shape == (0,)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_output_layer_is_itself_again_after_a_failure() -> None:
    model = tiny("llama")
    scorer = CompletionScorer(model, CPU)
    bad = collate([TrainSample((1,), (VOCABULARY,), (0.0,), 1.0)], [1.0], CPU)
    with pytest.raises((IndexError, RuntimeError)):
        scorer.scores(bad, SAMPLED)
    assert model(input_ids=torch.tensor([[1, 2]])).logits.shape == (1, 2, VOCABULARY)


def test_entropies_with_gradient_are_those_of_all_logits_and_also_from_whole_logits() -> None:
    model, batch = tiny("llama"), collate(samples(), [1.0] * 5, CPU)
    scorer = CompletionScorer(model, CPU)
    found, entropy = scorer.scores(batch, SAMPLED, entropy_gradient=True)
    plain = [plain_scores(model, sample) for sample in samples()]
    assert apart(entropy, torch.cat([one for _, one in plain])) < 1e-6
    whole = torch.cat([one for one, _ in plain]) + torch.cat([one for _, one in plain])
    for here, there in zip(gradients(model, found + entropy), gradients(model, whole), strict=True):
        assert apart(here, there) < 1e-5
    scorer.chunked = False
    whole, other = scorer.scores(batch, SAMPLED, entropy_gradient=True)
    assert apart(whole, found) < 1e-6 and apart(other, entropy) < 1e-6 and other.requires_grad


def test_an_entropy_bonus_makes_no_more_logits_at_a_time() -> None:
    model = tiny("llama")
    for parameter in model.get_input_embeddings().parameters():
        parameter.requires_grad_(False)
    scorer, batch = CompletionScorer(model, CPU), collate(samples(), [1.0] * 5, CPU)
    with _Largest() as chunked:
        found, entropy = scorer.scores(batch, SAMPLED, entropy_gradient=True)
        (found - entropy).sum().backward()
    assert chunked.rows <= max(CHUNK, 32)
