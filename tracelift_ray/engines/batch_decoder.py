"""Continuous batching over a transformers model: requests join and leave a running batch between two tokens.

One thread drives it: ``add`` requests, ``step`` until ``busy`` is false. Equal prompts that start together are run
through the model once. Rows that have finished leave the batch; those of cancelled requests too.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tracelift_ray.engines.attention_masks import StepMasks
from tracelift_ray.engines.kv_rows import RowCache
from tracelift_ray.engines.sampling import sample, uniforms
from tracelift_ray.engines.stops import StopFinder
from tracelift_ray.lora.layers import adapter_parameters
from tracelift_ray.transfer.delta import Changed
from tracelift_ray.types import Completion, SamplingParams

#: Tokens, padding included, that one prefill runs through the model.
PREFILL_TOKENS = 16384
#: Free columns that a cache gets at most; one that is full is moved to a new one.
GROWTH = 128


@dataclass
class Request:
    """A request inside the decoder.

    Attributes:
        tag: the caller's own.
        version: of the weights at its first token.
        finished: its completions by sample index.
        watch: learns the tokens of its first sample whenever there is one more; called on the decoder's thread.
    """

    prompt_ids: tuple[int, ...]
    params: SamplingParams
    tag: Any
    version: int = 0
    finished: dict[int, Completion] = field(default_factory=dict)
    cancelled: bool = False
    watch: Callable[[tuple[int, ...]], None] | None = None

    @property
    def done(self) -> bool:
        return len(self.finished) == self.params.n


@dataclass
class Row:
    """One sample being written."""

    request: Request
    index: int
    seed: int
    stops: StopFinder
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    dead: bool = False

    @property
    def live(self) -> bool:
        return not (self.dead or self.request.cancelled)

    @property
    def room(self) -> int:
        return self.request.params.max_new_tokens - len(self.token_ids)


class BatchDecoder:
    """See the module.

    Args:
        model: a causal language model with full or windowed attention, in eval mode.
        tokenizer: its tokenizer.
        max_rows: samples written at a time; requests beyond wait. One request alone may have more.
        seed: of requests without a seed.

    Attributes:
        version: of the weights that the model holds.
    """

    def __init__(self, model: Any, tokenizer: Any, max_rows: int, seed: int = 0) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = next(model.parameters()).device
        self._masks = StepMasks(model)
        self._layers = model.config.get_text_config().num_hidden_layers
        self._eos = eos_ids(model)
        self._stops: dict[tuple[tuple[str, ...], str], StopFinder] = {}
        self._rows: list[Row] = []
        self._cache: RowCache | None = None
        self._backlog: deque[Request] = deque()
        self._max_rows = max_rows
        self._seeds = random.Random(seed)
        self.version = 0

    @property
    def busy(self) -> bool:
        return bool(self._rows or self._backlog)

    def add(self, requests: Iterable[Request]) -> None:
        """Queue requests; they start, in this order, with the next step that has room for them."""
        self._backlog.extend(requests)

    @torch.inference_mode()
    def step(self) -> list[Request]:
        """Start what fits, then write one token of every row; returns the requests that this completes."""
        done = self._start(self._next_requests())
        self._compact()
        return done if self._cache is None else done + self._write(self._cache)

    @torch.inference_mode()
    def load(self, tensors: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Replace the model's weights, or its adapters where it has some, and run everything written so far again.

        Raises:
            ValueError: a name or shape is not the model's, or a parameter is missing. The model may be half replaced.
        """
        parameters = dict(adapter_parameters(self._model) or self._model.named_parameters())
        for name, tensor in tensors:
            parameter = parameters.pop(name, None)
            if parameter is None or parameter.shape != tensor.shape:
                raise ValueError(f"the model has no parameter {name} of shape {list(tensor.shape)}")
            parameter.copy_(tensor)
        if parameters:
            raise ValueError(f"no weights came for {', '.join(list(parameters)[:3])}")
        self.version = version
        self._rebuild()

    @torch.inference_mode()
    def change(self, changed: Iterable[Changed], version: int) -> None:
        """As ``load``, of weights that differ little from those that the model has."""
        parameters = dict(self._model.named_parameters())
        for each in changed:
            each.write(parameters[each.name].data)
        self.version = version
        self._rebuild()

    def _next_requests(self) -> list[Request]:
        rows = sum(row.live for row in self._rows)
        chosen: list[Request] = []
        while self._backlog and (rows == 0 or rows + self._backlog[0].params.n <= self._max_rows):
            request = self._backlog.popleft()
            if not request.cancelled:
                chosen.append(request)
                rows += request.params.n
        return chosen

    def _start(self, requests: Sequence[Request]) -> list[Request]:
        """Draw the first tokens of requests; returns those that are already done."""
        by_prompt: dict[tuple[int, ...], list[Row]] = {}
        for request in requests:
            by_prompt.setdefault(request.prompt_ids, []).extend(self._new_rows(request))
        done: list[Request] = []
        for prompts in _chunks(sorted(by_prompt, key=len)):
            cache, logits = self._prefill(prompts)
            rows = [row for prompt in prompts for row in by_prompt[prompt]]
            owner = [index for index, prompt in enumerate(prompts) for _ in by_prompt[prompt]]
            owners = torch.tensor(owner, device=self._device)
            done += self._advance(rows, logits.index_select(0, owners))
            kept = [index for index, row in enumerate(rows) if row.live]
            if kept:
                self._join(cache, owners[torch.tensor(kept, device=self._device)], [rows[index] for index in kept])
        return done

    def _write(self, cache: RowCache) -> list[Request]:
        """One token for every row; returns the requests that are done with it."""
        used = cache.used
        positions = cache.lengths().unsqueeze(1)
        cache.append_column()
        last = torch.tensor([[row.token_ids[-1] if row.live else 0] for row in self._rows], device=self._device)
        logits = self._model(
            input_ids=last,
            attention_mask=self._masks.of(cache.mask[:, : used + 1]),
            position_ids=positions,
            past_key_values=cache.cache,
            use_cache=True,
        ).logits[:, -1]
        done = self._advance(self._rows, logits)
        if not any(row.live for row in self._rows):
            self._rows, self._cache = [], None
        return done

    def _rebuild(self) -> None:
        """Run everything written so far through the model again."""
        rows = [row for row in self._rows if row.live]
        self._rows, self._cache = [], None
        if not rows:
            return
        texts = {id(row): row.request.prompt_ids + tuple(row.token_ids[:-1]) for row in rows}
        for chunk in _chunks(sorted(set(texts.values()), key=len)):
            cache, _ = self._prefill(chunk)
            number = {text: index for index, text in enumerate(chunk)}
            members = [row for row in rows if texts[id(row)] in number]
            owners = torch.tensor([number[texts[id(row)]] for row in members], device=self._device)
            self._join(cache, owners, members)

    def _new_rows(self, request: Request) -> list[Row]:
        params = request.params
        request.version = self.version
        ends = params.stop, params.until
        stops = self._stops.get(ends)
        if stops is None:
            stops = self._stops[ends] = StopFinder(self._tokenizer, *ends)
        seed = self._seeds.getrandbits(48) if params.seed is None else params.seed
        return [Row(request, index, seed + index, stops) for index in range(params.n)]

    def _prefill(self, texts: Sequence[tuple[int, ...]]) -> tuple[RowCache, torch.Tensor]:
        """Run token sequences through the model. Returns their cache and the logits behind the last tokens."""
        width = max(len(text) for text in texts)
        ids = torch.zeros(len(texts), width, dtype=torch.long)
        mask = torch.zeros(len(texts), width, dtype=torch.bool)
        for index, text in enumerate(texts):
            ids[index, width - len(text) :] = torch.tensor(text)
            mask[index, width - len(text) :] = True
        mask = mask.to(self._device)
        cache = RowCache.empty(self._layers, mask, width)
        output = self._model(
            input_ids=ids.to(self._device),
            attention_mask=mask.long(),
            position_ids=(mask.long().cumsum(dim=1) - 1).clamp_(min=0),
            past_key_values=cache.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache, output.logits[:, -1]

    def _join(self, cache: RowCache, owners: torch.Tensor, rows: list[Row]) -> None:
        """Let rows, each with the cache row that it starts from, join the running batch."""
        parts = [(cache, owners)]
        joined = list(rows)
        if self._cache is not None and self._rows:
            kept = [index for index, row in enumerate(self._rows) if row.live]
            if kept:
                parts.insert(0, (self._cache, torch.tensor(kept, device=self._device)))
                joined = [self._rows[index] for index in kept] + joined
        self._rows = joined
        self._cache = RowCache.gathered(parts, self._growth(joined))

    def _compact(self) -> None:
        """Drop the finished rows once they are a quarter of the batch, and make room for the next column."""
        kept = [index for index, row in enumerate(self._rows) if row.live]
        if self._cache is None or not kept:
            self._rows, self._cache = [], None
            return
        if len(kept) <= 0.75 * len(self._rows) or self._cache.used == self._cache.capacity:
            self._rows = [self._rows[index] for index in kept]
            chosen = torch.tensor(kept, device=self._device)
            self._cache = RowCache.gathered([(self._cache, chosen)], self._growth(self._rows))

    @staticmethod
    def _growth(rows: Sequence[Row]) -> int:
        return max(1, min(GROWTH, max(row.room for row in rows)))

    def _advance(self, rows: Sequence[Row], logits: torch.Tensor) -> list[Request]:
        """Draw a token for each row, and finish the rows that end with it; returns the requests that are done."""
        params = [row.request.params for row in rows]
        draws = uniforms(
            np.array([row.seed for row in rows], dtype=np.uint64),
            np.array([len(row.token_ids) for row in rows], dtype=np.uint64),
        )
        tokens, logprobs = sample(
            logits.float(),
            torch.tensor([each.temperature for each in params], device=self._device),
            torch.tensor([each.top_p for each in params], device=self._device),
            torch.tensor([each.top_k for each in params], device=self._device),
            torch.from_numpy(draws).to(self._device),
        )
        done = []
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            if row.live:
                row.token_ids.append(token)
                row.logprobs.append(logprob)
                if row.request.watch is not None and row.index == 0:
                    row.request.watch(tuple(row.token_ids))
                if self._finish(row, token) and row.request.done:
                    done.append(row.request)
        return done

    def _finish(self, row: Row, token: int) -> bool:
        """Record the row's completion if this token ends it."""
        request = row.request
        text = row.stops.ending(request.prompt_ids, row.token_ids)
        stopped = text is not None or token in self._eos
        if not stopped and row.room > 0:
            return False
        row.dead = True
        request.finished[row.index] = Completion(
            token_ids=tuple(row.token_ids),
            text=row.stops.text(request.prompt_ids, row.token_ids) if text is None else text,
            finish_reason="stop" if stopped else "length",
            logprobs=tuple(row.logprobs) if request.params.logprobs else None,
            oldest_version=request.version,
            newest_version=self.version,
        )
        return True


def eos_ids(model: Any) -> frozenset[int]:
    """Every token id that ends a text, by the model's generation configuration, else by its own."""
    found = model.generation_config.eos_token_id
    if found is None:
        found = model.config.get_text_config().eos_token_id
    if found is None:
        return frozenset()
    return frozenset(found if isinstance(found, list | tuple) else [found])


def _chunks(texts: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Cut sequences, shortest first, into prefills of at most ``PREFILL_TOKENS`` padded tokens."""
    chunks: list[list[tuple[int, ...]]] = []
    for text in texts:
        if chunks and (len(chunks[-1]) + 1) * len(text) <= PREFILL_TOKENS:
            chunks[-1].append(text)
        else:
            chunks.append([text])
    return chunks
