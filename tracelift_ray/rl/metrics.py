"""What one update reports: sums over completion tokens, added up over micro-batches and ranks, then divided once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from tracelift_ray.rl.losses import LossInputs
from tracelift_ray.rl.objective import Objective


@dataclass(frozen=True)
class UpdateMetrics:
    """One update of the learner; means are over the completion tokens that were trained on.

    Attributes:
        loss: the loss before the update, averaged over its optimizer steps.
        grad_norm: 2-norm of the whole gradient before clipping, averaged over the optimizer steps.
        lr: learning rate of the last step.
        mismatch_mean, mismatch_max: |log-prob of the learner before the update - behaviour log-prob|.
        truncated_fraction: share of tokens whose correction hit its cap.
        masked_fraction: share of tokens that the correction left out.
        weight_mean: the correction's mean weight.
        effective_sample_size: (sum of weights)^2 / sum of their squares, as a share of the tokens; 1 for equal weights.
        clip_fraction: share of tokens whose gradient a bound on the ratio changed.
        ratio_mean, ratio_max: the loss's ratio, of tokens or of traces; 1 with a single step per batch.
        behaviour_kl: k3 estimate of KL(behaviour || learner before the update).
        reference_kl: the KL penalty before its coefficient; 0 without one.
        entropy: nats per token, of the policy at the sampling temperature.
        samples, tokens: traces and completion tokens trained on.
        micro_batches: per rank.
        steps: optimizer steps taken.
        seconds: wall time.
        tokens_per_s: completion tokens of all optimizer steps over the wall time.
        peak_percent: operations of all optimizer steps over the wall time, of what the GPUs do at most (see
            ``training.peak``); None where that is not known.
    """

    loss: float
    grad_norm: float
    lr: float
    mismatch_mean: float
    mismatch_max: float
    truncated_fraction: float
    masked_fraction: float
    weight_mean: float
    effective_sample_size: float
    clip_fraction: float
    ratio_mean: float
    ratio_max: float
    behaviour_kl: float
    reference_kl: float
    entropy: float
    samples: int
    tokens: int
    micro_batches: int
    steps: int
    seconds: float
    tokens_per_s: float
    peak_percent: float | None

    def known(self) -> dict[str, float]:
        """All metrics that there are, by name."""
        return {name: float(value) for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of_steps(
        cls,
        steps: Sequence[Mapping[str, float]],
        *,
        samples: int,
        micro_batches: int,
        seconds: float,
        peak_share: float | None = None,
    ) -> UpdateMetrics:
        """From what ``MetricSums.reduce``, ``grad_norm`` and ``lr`` gave for each optimizer step of the update."""

        def mean(key: str) -> float:
            return sum(step[key] for step in steps) / len(steps)

        return cls(
            loss=mean("loss"),
            grad_norm=mean("grad_norm"),
            lr=steps[-1]["lr"],
            mismatch_mean=mean("mismatch"),
            mismatch_max=max(step["mismatch_max"] for step in steps),
            truncated_fraction=mean("truncated"),
            masked_fraction=mean("masked"),
            weight_mean=mean("weight"),
            effective_sample_size=mean("effective"),
            clip_fraction=mean("clipped"),
            ratio_mean=mean("ratio"),
            ratio_max=max(step["ratio_max"] for step in steps),
            behaviour_kl=mean("behaviour_kl"),
            reference_kl=mean("reference_kl"),
            entropy=mean("entropy"),
            samples=samples,
            tokens=int(steps[0]["tokens"]),
            micro_batches=micro_batches,
            steps=len(steps),
            seconds=seconds,
            tokens_per_s=sum(step["tokens"] for step in steps) / seconds,
            peak_percent=None if peak_share is None else 100.0 * peak_share,
        )


class MetricSums:
    """Adds up one optimizer step's tokens on this rank; ``reduce`` makes the sums global. ``together`` ranks each add
    the same micro-batches."""

    _SUMS = (
        *("loss", "tokens", "mismatch", "truncated", "clipped", "ratio", "behaviour_kl", "reference_kl", "entropy"),
        *("masked", "weight", "weight_squared"),
    )

    def __init__(self, device: torch.device, together: int = 1) -> None:
        self._together = together
        self._sums = torch.zeros(len(self._SUMS), dtype=torch.float64, device=device)
        self._maxima = torch.zeros(2, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, loss: torch.Tensor, tokens: LossInputs, terms: Objective, entropy: torch.Tensor) -> None:
        """Add one micro-batch: its weighted loss (a scalar) and per-token vectors [N]; N may be 0."""
        gap = tokens.old - tokens.behaviour
        weight = terms.correction.weight
        columns = (
            torch.ones_like(gap),
            gap.abs(),
            terms.correction.truncated,
            terms.policy.clipped,
            terms.policy.ratio,
            torch.exp(gap) - gap - 1.0,
            torch.zeros_like(gap) if terms.kl is None else terms.kl.detach(),
            entropy.detach(),
            terms.correction.masked,
            weight,
            weight.double().square(),
        )
        self._sums += torch.stack([loss.detach().double(), *(column.double().sum() for column in columns)])
        if len(gap):
            self._maxima = torch.maximum(
                self._maxima, torch.stack([gap.abs().max().double(), terms.policy.ratio.max().double()])
            )

    def reduce(self) -> dict[str, float]:
        """Global values: ``loss`` and ``tokens`` as sums, the rest as token means, ``mismatch_max``, ``ratio_max``, and
        ``effective``, the effective sample size as a share of the tokens (0 where every weight is 0)."""
        import torch.distributed as dist

        dist.all_reduce(self._sums, dist.ReduceOp.SUM)
        dist.all_reduce(self._maxima, dist.ReduceOp.MAX)
        self._sums /= self._together
        values = dict(zip(self._SUMS, self._sums.tolist(), strict=True))
        tokens = values["tokens"]
        means = {key: value / tokens for key, value in values.items() if key not in ("loss", "tokens")}
        largest = dict(zip(("mismatch_max", "ratio_max"), self._maxima.tolist(), strict=True))
        squared = means.pop("weight_squared")
        effective = means["weight"] ** 2 / squared if squared > 0 else 0.0
        return {"loss": values["loss"], "tokens": tokens, **means, **largest, "effective": effective}
