"""The policy in training: all of its weights, or adapters before frozen ones; its reference; what is sent and saved.

Promises: the optimizer knows what is trained and nothing else; with adapters, the reference is the same model with them
off, so that there is no second one; log-probs outside of an update are those without dropout.
Methods that do not say otherwise are collectives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tracelift_ray.config.schema import LearnerConfig
from tracelift_ray.lora.layers import adapted, adapters_off, add_adapters, peft_fields
from tracelift_ray.training.engine import TrainingEngine
from tracelift_ray.training.export import Weight, adapters_of, save_adapter, save_pretrained, weights_of
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.microbatches import MicroBatch, check_packing
from tracelift_ray.training.models import load_causal_lm
from tracelift_ray.training.output_layer import CompletionScorer
from tracelift_ray.training.sequence import SequenceGroup

_BUCKET_MIB = 256


class Policy:
    """One rank's share of the policy.

    Args:
        source: local Hugging Face directory of the start weights, also of the reference.
        referenced: whether ``reference`` will be asked for.
        seed: of the adapters' first weights, the same on every rank.
        sequence: the ranks that share this one's micro-batches; None: it has its own.
    """

    def __init__(
        self,
        engine: TrainingEngine,
        config: LearnerConfig,
        source: str,
        *,
        referenced: bool,
        seed: int,
        sequence: SequenceGroup | None = None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._source = source
        self._adapted = config.lora.rank > 0
        self._sequence = sequence
        self._reference: CompletionScorer | None = None
        with engine.dividing():
            model = load_causal_lm(source, config.dtype, gradient_checkpointing=config.gradient_checkpointing)
            if self._adapted:
                add_adapters(model, config.lora, seed)
            engine.begin(model, self._optimizer(model))
            if config.layout == "packed":
                check_packing(engine.model, engine.device)
            self._scorer = self._scorer_of(engine.model)
            if referenced:
                self._reference = self._scorer if self._adapted else self._frozen()

    def _optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        config = self._config
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)

    def _frozen(self) -> CompletionScorer:
        model = self._engine.freeze(load_causal_lm(self._source, self._config.dtype))
        return self._scorer_of(model)

    def _scorer_of(self, model: Any) -> CompletionScorer:
        scorer = CompletionScorer(model, self._engine.device)
        if self._sequence is not None:
            scorer.divide(self._sequence)
        return scorer

    def scores(self, batch: MicroBatch, distribution: Distribution, *, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies for an update; see ``CompletionScorer.scores``."""
        return self._scorer.scores(batch, distribution, entropy_gradient=entropy_gradient)

    @torch.no_grad()
    def logprobs(self, batch: MicroBatch, distribution: Distribution) -> Tensor:
        """Log-probs [N] as the policy is now."""
        with self._without_dropout():
            return self._scorer.scores(batch, distribution)[0]

    @torch.no_grad()
    def reference_logprobs(self, batch: MicroBatch, distribution: Distribution) -> Tensor | None:
        """Log-probs [N] as the policy was at the start of the run; None without a reference."""
        if self._reference is None:
            return None
        with self._without_dropout(), adapters_off(self._engine.module) if self._adapted else nullcontext():
            return self._reference.scores(batch, distribution)[0]

    @contextmanager
    def _without_dropout(self) -> Iterator[None]:
        if self._config.lora.dropout == 0 or not self._adapted:
            yield
            return
        self._engine.module.eval()
        try:
            yield
        finally:
            self._engine.module.train()

    @property
    def adapter(self) -> dict[str, Any] | None:
        """PEFT's configuration of what is sent; None where full weights are. No collective."""
        sent = self._config.sent_adapter
        return None if sent is None else peft_fields(sent, adapted(self._engine.module))

    def sent(self) -> list[Weight]:
        """What goes to the planner. No collective."""
        return weights_of(self._engine.module) if self.adapter is None else adapters_of(self._engine.module)

    def save(self, directory: Path, *, write: bool) -> None:
        """Save it with its tokenizer: a Hugging Face directory; of adapters a PEFT directory and, where the
        configuration says so, the merged model in ``merged/`` beside it."""
        module = self._engine.module
        if not self._adapted:
            save_pretrained(module, directory, self._source, _BUCKET_MIB, write=write)
            return
        save_adapter(module, directory, self._source, self._config.lora, _BUCKET_MIB, write=write)
        if self._config.lora.save_merged:
            save_pretrained(module, directory.with_name("merged"), self._source, _BUCKET_MIB, write=write)
