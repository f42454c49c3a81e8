"""How likely a language model finds a trace: the yardstick of a reward model that was never trained.

The model reads the problem's statement, an empty line, and the trace; a trace's number is the mean log-probability of
its tokens. The traces of a problem are read as one tree, so that what they share is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tracelift_ray.reasoning_rm.model.prefixes import PrefixTree, build_tree, collate_trees
from tracelift_ray.tasks.prompts import load_tokenizer
from tracelift_ray.training.models import load_causal_lm


class TraceLikelihood:
    """A causal language model in a Hugging Face directory.

    Args:
        dtype: float32 or bfloat16.
        max_length: tokens read; what is longer is cut on the right.

    Raises:
        DataError: there is no model in ``path``.
    """

    def __init__(self, path: str, dtype: str, max_length: int) -> None:
        self._model: Any = load_causal_lm(path, dtype).eval()
        if torch.cuda.is_available():
            self._model.to("cuda")
        self._tokenizer: Any = load_tokenizer(path)
        self._max_length = max_length

    @torch.no_grad()
    def of(self, statement: str, traces: Sequence[str]) -> list[float]:
        """The mean log-probability of each trace's tokens, in nats; 0 where the cut leaves none of them."""
        head = f"{statement.strip()}\n\n"
        encoded = self._tokenizer([head + trace.strip() for trace in traces], return_offsets_mapping=True)
        rows = [ids[: self._max_length] for ids in encoded["input_ids"]]
        starts = [
            next((place for place, (_, end) in enumerate(spans) if end > len(head)), len(spans))
            for spans in encoded["offset_mapping"]
        ]
        tree = build_tree(rows)
        chances = self._tree_logprobs(tree)
        paths = [tree.path(end) for end in tree.ends]
        tokens = [chances[path[max(start, 1) :]] for path, start in zip(paths, starts, strict=True)]
        return [float(values.mean()) if len(values) else 0.0 for values in tokens]

    def _tree_logprobs(self, tree: PrefixTree) -> Tensor:
        """(N,), the log-probability of each token of the tree after its ancestors; of a first token 0."""
        batch = collate_trees([tree], 0, self._model.device)
        logits = self._model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        ).logits[0]
        parents = torch.tensor(tree.parents[1:], device=logits.device).clamp(min=0)
        values = -functional.cross_entropy(logits[parents].float(), batch.input_ids[0, 1:], reduction="none")
        known = torch.tensor([parent >= 0 for parent in tree.parents[1:]], device=logits.device)
        return torch.cat([values.new_zeros(1), values * known]).cpu()
