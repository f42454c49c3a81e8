"""How the losses of tokens become the loss of a batch: what each token of a sample is multiplied by.

A normalisation is one function in ``NORMALISATIONS``, named by ``algorithm.normalisation``. Promise: a weight depends
on its sample and on numbers of the whole batch, and the loss is the plain sum over all tokens; so it does not depend on
how the batch is cut. These numbers count the samples without gradient, too (``TrainBatch``).
"""

from __future__ import annotations

from collections.abc import Callable

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.types import TrainBatch, TrainSample

#: What each token of a sample is multiplied by.
Normalisation = Callable[[TrainSample, TrainBatch, AlgorithmConfig], float]

NORMALISATIONS: dict[str, Normalisation] = {}


def normalisation(name: str) -> Callable[[Normalisation], Normalisation]:
    """Register a function under a name for ``algorithm.normalisation``."""

    def register(function: Normalisation) -> Normalisation:
        NORMALISATIONS[name] = function
        return function

    return register


def token_weight(sample: TrainSample, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """What each token of ``sample`` is multiplied by."""
    return NORMALISATIONS[config.normalisation](sample, batch, config)


@normalisation("token")
def token_mean(sample: TrainSample, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """The mean over all tokens of the batch (DAPO, arXiv 2503.14476)."""
    return 1.0 / batch.num_tokens


@normalisation("sequence")
def trace_mean(sample: TrainSample, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """The mean over traces of the mean over their tokens (GRPO, arXiv 2402.03300)."""
    return 1.0 / (batch.num_traces * len(sample.completion_ids))


@normalisation("constant")
def constant_length(sample: TrainSample, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """Every trace divided by ``constant_length``, so without length bias (Dr. GRPO, arXiv 2503.20783)."""
    return 1.0 / (batch.num_traces * config.constant_length)


@normalisation("prompt")
def prompt_mean(sample: TrainSample, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """The mean over groups of the mean over all tokens of a group's traces, as CISPO has it (arXiv 2506.13585)."""
    return 1.0 / (batch.num_groups * sample.group_tokens)
