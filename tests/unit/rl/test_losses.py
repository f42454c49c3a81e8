import math

import pytest
import torch

from tests.learner_configs import algorithm
from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.losses import LossInputs, kl_penalty, ppo_clip
from tracelift_ray.rl.normalisations import token_weight
from tracelift_ray.rl.objective import objective
from tracelift_ray.training.logprobs import Distribution, token_scores
from tracelift_ray.types import TrainBatch, TrainSample


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def logs(*numbers: float) -> torch.Tensor:
    return torch.log(values(*numbers))


def one_trace(
    current: torch.Tensor, old: torch.Tensor, behaviour: torch.Tensor, advantages: torch.Tensor
) -> LossInputs:
    """All tokens as one trace; advantages may differ from token to token, which a token-wise loss does not mind."""
    count = len(current)
    segments = torch.zeros(count, dtype=torch.long)
    return LossInputs(current, old, behaviour, advantages.expand(count), segments, torch.tensor([count]))


def test_log_probs_divide_the_logits_by_the_temperature():
    logits = torch.tensor([[0.0, math.log(4.0)]])
    # at temperature 2 the odds 1 : 4 become 1 : 2
    assert token_scores(logits, torch.tensor([1]), Distribution(2.0))[0].item() == pytest.approx(
        math.log(2 / 3), abs=1e-6
    )
    assert token_scores(logits, torch.tensor([0]), Distribution(1.0))[0].item() == pytest.approx(
        math.log(1 / 5), abs=1e-6
    )


def test_long_inputs_in_chunks_have_the_same_values_and_gradients():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2500, 7, generator=generator, requires_grad=True)
    targets = torch.randint(0, 7, (2500,), generator=generator)
    weights = torch.randn(2500, generator=generator)
    whole = torch.log_softmax(logits / 0.7, -1)[torch.arange(2500), targets]
    chunked, entropies = token_scores(logits, targets, Distribution(0.7))
    assert torch.allclose(chunked, whole, atol=1e-6)
    gradients = [torch.autograd.grad((value * weights).sum(), logits)[0] for value in (whole, chunked)]
    assert torch.allclose(*gradients, atol=1e-6)
    assert torch.allclose(entropies[:9], token_scores(logits[:9], targets[:9], Distribution(0.7))[1])
    assert [scores.shape for scores in token_scores(logits[:0], targets[:0], Distribution(0.7))] == [(0,), (0,)]


def test_entropy_of_a_known_distribution():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    assert token_scores(logits, torch.tensor([0]), Distribution(1.0))[1].item() == pytest.approx(
        1.5 * math.log(2), abs=1e-6
    )


def plain(tokens: LossInputs, config: AlgorithmConfig) -> torch.Tensor:
    """The loss of each token, without KL and entropy."""
    return objective(tokens, None, tokens.old, config).loss


def test_the_importance_weight_is_truncated_above_and_can_be_left_out():
    old, behaviour = logs(0.5, 0.5, 0.5), logs(0.5, 0.1, 0.8)
    tokens = one_trace(old, old, behaviour, values(-1.0))
    assert plain(tokens, algorithm(mismatch_cap=2.0)).tolist() == pytest.approx([1.0, 2.0, 0.625])
    for left_out in (algorithm(mismatch_cap=0.0), algorithm(correction="none")):
        assert plain(tokens, left_out).tolist() == [1.0, 1.0, 1.0]


def test_separate_clip_bounds_by_hand():
    config = algorithm(clip_low=0.2, clip_high=0.3, mismatch_cap=0.0)
    old = logs(0.5, 0.5, 0.5, 0.5)
    current = logs(0.7, 0.7, 0.35, 0.35).requires_grad_()  # ratios 1.4, 1.4, 0.7, 0.7
    result = ppo_clip(one_trace(current, old, old, values(1.0, -1.0, 1.0, -1.0)), config)
    assert result.loss.tolist() == pytest.approx([-1.3, 1.4, -0.7, 0.8])
    assert result.clipped.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert result.ratio.tolist() == pytest.approx([1.4, 1.4, 0.7, 0.7])
    result.loss.sum().backward()
    # d(-r A)/d(current) = -r A where not clipped, 0 where clipped
    assert current.grad.tolist() == pytest.approx([0.0, 1.4, -0.7, 0.0])


def test_on_policy_gradient_is_minus_weight_times_advantage():
    config = algorithm(mismatch_cap=2.0)
    current = logs(0.4, 0.4).requires_grad_()
    plain(one_trace(current, current.detach(), logs(0.5, 0.1), values(1.5, -2.0)), config).sum().backward()
    assert current.grad.tolist() == pytest.approx([-0.8 * 1.5, 2.0 * 2.0])


def test_the_released_code_trainers_loss_is_the_case_without_ratio_and_correction():
    config = algorithm(mismatch_cap=0.0, normalisation="sequence")
    current = logs(0.3, 0.6, 0.9).requires_grad_()
    loss = plain(one_trace(current, current.detach(), logs(0.1, 0.9, 0.2), values(0.7)), config)
    (loss.sum() * weight(3, TrainBatch((), num_traces=1, num_tokens=3), config)).backward()
    assert current.grad.tolist() == pytest.approx([-0.7 / 3] * 3)


def test_kl_estimators_by_hand():
    current, reference = logs(0.5), logs(0.25)
    gap = math.log(2.0)
    assert kl_penalty(current, reference, "k1").item() == pytest.approx(gap)
    assert kl_penalty(current, reference, "k2").item() == pytest.approx(gap**2 / 2)
    assert kl_penalty(current, reference, "k3").item() == pytest.approx(0.5 + gap - 1.0)


def test_kl_estimators_agree_with_the_exact_divergence_in_expectation_and_push_towards_the_reference():
    logits = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    reference = torch.log_softmax(values(0.1, 0.1, 0.6), dim=-1)
    current = torch.log_softmax(logits, dim=-1)
    exact = (current.exp() * (current - reference)).sum()
    (true_gradient,) = torch.autograd.grad(exact, logits, retain_graph=True)
    for kind, exact_value in (("k1", True), ("k2", False), ("k3", True)):
        expected = (current.detach().exp() * kl_penalty(current, reference, kind)).sum()
        (gradient,) = torch.autograd.grad(expected, logits, retain_graph=True)
        if exact_value:
            assert expected.item() == pytest.approx(exact.item(), rel=1e-9)
        if kind in ("k1", "k2"):
            assert gradient.tolist() == pytest.approx(true_gradient.tolist(), rel=1e-9)
        assert torch.dot(gradient, true_gradient) > 0


def weight(tokens: int, batch: TrainBatch, config: AlgorithmConfig, group_tokens: int = 0) -> float:
    sample = TrainSample((1,), tuple(range(tokens)), (-1.0,) * tokens, 0.0, group_tokens)
    return token_weight(sample, batch, config)


def test_normalisers_use_the_whole_batch():
    batch = TrainBatch((), num_traces=4, num_tokens=50, num_groups=2)
    assert weight(5, batch, algorithm(normalisation="token")) == pytest.approx(1 / 50)
    assert weight(5, batch, algorithm(normalisation="sequence")) == pytest.approx(1 / 20)
    assert weight(5, batch, algorithm(normalisation="constant", constant_length=16)) == pytest.approx(1 / 64)
    assert weight(5, batch, algorithm(normalisation="prompt"), group_tokens=30) == pytest.approx(1 / 60)
