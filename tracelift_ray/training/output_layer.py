"""Scores of completion tokens under a causal language model, without the logits of a whole micro-batch.

The output layer is called once in a forward pass, as always, but for this call it selects the hidden states of the
completion tokens and makes their log-probs chunk by chunk. Promises: values and gradients are those of the plain form;
logits exist for at most ``CHUNK`` tokens at a time, also in the backward pass; whatever the number of chunks, ZeRO-3
gathers the layer's weights once for each pass, so ranks with different numbers of tokens stay in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tracelift_ray.errors import DataError
from tracelift_ray.training.logprobs import Distribution, token_scores
from tracelift_ray.training.microbatches import MicroBatch, collate, completion_logits
from tracelift_ray.training.sequence import SequenceGroup, exchange_attention, obstacle
from tracelift_ray.types import TrainSample

_PROBE = TrainSample((0, 1), (2, 3), (0.0, 0.0), 0.0)
#: Of log-probs, between one rank and several: what rounding in bfloat16 may make of it, and no more.
_APART = 0.05


class CompletionScorer:
    """Scores completion tokens under one model, which may have DeepSpeed around it.

    A model that changes what its output layer returns (soft capping, a scale) keeps the plain form: the logits of all
    completion tokens exist together there. One forward pass in the constructor shows which form a model allows.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self.model = model
        self.chunked = False
        self._sequence: SequenceGroup | None = None
        self._device = device
        layer = model.get_output_embeddings()
        if layer is not None:
            self._layer: nn.Module = layer
            self.chunked = self._returned_as_made(collate([_PROBE], [1.0], device))

    def divide(self, sequence: SequenceGroup) -> None:
        """From now on the ranks of a group compute each forward pass together. Collective.

        Raises:
            DataError: this model computes otherwise then.
        """
        probe, model = collate([_PROBE], [1.0], self._device), getattr(self.model, "module", self.model)
        cause = obstacle(model, sequence.size)
        if not cause:
            with torch.no_grad():
                alone = self.scores(probe, Distribution(1.0))[0]
                exchange_attention(model, sequence)
                self._sequence = sequence
                apart = (self.scores(probe, Distribution(1.0))[0] - alone).abs().max().item()
            cause = f"log-probs differ by {apart:.3g} then" if apart > _APART else ""
        if cause:
            raise DataError(f"learner.sequence_parallel={sequence.size}: this model cannot be divided so: {cause}")

    def scores(
        self, batch: MicroBatch, distribution: Distribution, *, entropy_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Log-probs [N], with gradient, and entropies [N] of the completion tokens, from one forward pass; see
        ``token_scores``."""
        if self._sequence is None:
            return self._scores(batch, distribution, entropy_gradient)
        part, mine = self._sequence.stretch(batch)
        logprobs, entropies = self._scores(part, distribution, entropy_gradient)
        count = len(batch.targets)
        return self._sequence.together(logprobs, mine, count), self._sequence.together(entropies, mine, count)

    def _scores(self, batch: MicroBatch, distribution: Distribution, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        if not self.chunked:
            logits = completion_logits(self.model, batch)
            return token_scores(logits, batch.targets, distribution, entropy_gradient=entropy_gradient)
        output, made = self._forward(batch, distribution, entropy_gradient)
        return (output[0], output[1]) if entropy_gradient else (output, made[0][1])

    @torch.no_grad()
    def _returned_as_made(self, batch: MicroBatch) -> bool:
        """Whether the model returns what its output layer makes, called once."""
        output, made = self._forward(batch, Distribution(1.0), False)
        return len(made) == 1 and output.shape == made[0][0].shape and torch.equal(output, made[0][0])

    def _forward(
        self, batch: MicroBatch, distribution: Distribution, entropy_gradient: bool
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What the model returns for logits, and what its output layer made in each of its calls."""
        made: list[tuple[Tensor, Tensor]] = []
        to_logits = self._layer.forward

        def selecting(hidden: Tensor) -> Tensor:
            chosen = hidden[batch.chosen]
            made.append(token_scores(chosen, batch.targets, distribution, to_logits, entropy_gradient=entropy_gradient))
            # What carries gradient goes through the model's own output, where ZeRO-3's hooks see it.
            return torch.stack(made[-1]) if entropy_gradient else made[-1][0]

        with _forward_of(self._layer, selecting):
            output = self.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
                use_cache=False,
                logits_to_keep=batch.kept,
            )
        return output.logits, made


@contextmanager
def _forward_of(layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """``layer`` computes ``forward`` inside the block; the hooks around its calls stay."""
    own = vars(layer).get("forward")
    vars(layer)["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del vars(layer)["forward"]
        else:
            vars(layer)["forward"] = own
