"""Scores traces with a reasoning RM in this process, off the event loop and in batches that form by themselves.

The promise: a pair's score is the same alone and in any batch (to 1e-5 in float32), each distinct pair is computed
once, scores come back in the order asked, and a score is a finite number or there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import torch

from tracelift_ray.config.errors import first_line
from tracelift_ray.config.models import ReasoningRmConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.model.batching import EncodedInput, InputEncoder, budget_batches, collate
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel, RubricOutput, shows_problem
from tracelift_ray.reasoning_rm.scoring.gathering import Gatherer
from tracelift_ray.types import TOP_LABEL, Problem, RubricScore

#: Traces of one pass; more would keep those that come first from their scores.
PASS_SIZE = 256


#: A problem, a trace of it, and a cut in tokens below the configured one (None: the configured one).
Asked = tuple[Problem, str, int | None]


class ModelScorer:
    """Implements ``kinds.TraceScorer`` with the model that ``config`` names."""

    def __init__(self, config: ReasoningRmConfig) -> None:
        self._config = config
        self._gatherer: Gatherer[Asked, RubricScore] | None = None

    async def start(self) -> None:
        """Load the model. Raises ``RewardModelError`` where there is none."""
        self._scorer = await asyncio.to_thread(RubricScorer, self._config)
        self._gatherer = Gatherer(self._score_all, batch_size=PASS_SIZE)

    async def score(self, problem: Problem, reasoning: str, max_length: int | None = None) -> RubricScore:
        """The rubric score of one trace; ``max_length`` cuts it shorter than the configuration does."""
        assert self._gatherer is not None, "start comes first"
        return await self._gatherer.ask((problem, reasoning, max_length))

    async def sleep(self) -> None:
        """Move the model to the machine's memory."""
        await asyncio.to_thread(self._scorer.move, "cpu")

    async def wake(self) -> None:
        """Move it back."""
        await asyncio.to_thread(self._scorer.move, self._scorer.device)

    def figures(self) -> dict[str, float]:
        """Sizes of the batches."""
        return {} if self._gatherer is None else self._gatherer.sizes()

    async def close(self) -> None:
        """Stop scoring."""
        if self._gatherer is not None:
            await self._gatherer.close()

    async def _score_all(self, asked: Sequence[Asked]) -> list[RubricScore]:
        items = [(problem, reasoning) for problem, reasoning, _ in asked]
        return await asyncio.to_thread(self._scorer.score, items, [max_length for _, _, max_length in asked])


class RubricScorer:
    """A reward model on one device, CUDA where there is one.

    Args:
        config: ``model`` is the reward model's directory; ``dtype`` is float32, bfloat16, float16 or auto (as saved).

    Raises:
        RewardModelError: the directory is missing, has no weights, or holds something else.
    """

    def __init__(self, config: ReasoningRmConfig) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._max_batch_tokens = config.max_batch_tokens
        dtype = config.dtype if config.dtype == "auto" else getattr(torch, config.dtype)
        self._model = ReasoningRewardModel.from_pretrained(config.model, dtype=dtype, device=self.device)
        shown = shows_problem(self._model.config)
        self._encoder = InputEncoder.load(config.model, config.max_length, show_problem=shown)

    def move(self, device: str) -> None:
        """Have the model on ``device``, and leave nothing of it elsewhere.

        Raises:
            InfrastructureError: there is no room.
        """
        try:
            self._model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps it
        except RuntimeError as error:
            raise InfrastructureError("reasoning_rm", first_line(error)) from error
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def score(
        self, items: Sequence[tuple[Problem, str]], max_lengths: Sequence[int | None] | None = None
    ) -> list[RubricScore]:
        """One score for each (problem, reasoning), in order.

        Args:
            max_lengths: where given, for each item a cut in tokens below the configured one; None: the configured one.

        Raises:
            InfrastructureError: the model could not compute, or computed something that is no number.
        """
        cuts = [None] * len(items) if max_lengths is None else max_lengths
        asked: list[Asked] = [(*item, cut) for item, cut in zip(items, cuts, strict=True)]
        distinct = list(dict.fromkeys(asked))
        try:
            scores = dict(zip(distinct, self._score_distinct(distinct), strict=True))
        except RuntimeError as error:  # torch's out-of-memory and device errors
            cause = str(error).strip().splitlines()[0]
            raise InfrastructureError("reasoning_rm", f"{type(error).__name__}: {cause}") from error
        return [scores[each] for each in asked]

    @torch.inference_mode()
    def _score_distinct(self, asked: Sequence[Asked]) -> list[RubricScore]:
        whole = self._encoder.encode([(problem, reasoning) for problem, reasoning, _ in asked])
        encoded = [row if cut is None else row.cut(cut) for row, (_, _, cut) in zip(whole, asked, strict=True)]
        scores: dict[int, RubricScore] = {}
        for positions in budget_batches([len(item) for item in encoded], self._max_batch_tokens):
            chosen = [encoded[position] for position in positions]
            output = self._model(*collate(chosen, self._encoder.pad_id, self._model.device))
            scores.update(zip(positions, _to_scores(output, chosen), strict=True))
        return [scores[position] for position in range(len(asked))]


def _to_scores(output: RubricOutput, inputs: Sequence[EncodedInput]) -> list[RubricScore]:
    """Plain Python values from one batch's output."""
    if not bool(output.score.isfinite().all()):
        raise InfrastructureError("reasoning_rm", "the model's score is not a number; check its weights and dtype")
    labels = (output.expected_labels * TOP_LABEL / (output.label_logits.shape[-1] - 1)).tolist()
    rows = zip(labels, output.total.tolist(), output.score.tolist(), inputs, strict=True)
    return [RubricScore(tuple(row), total, score, item.truncated) for row, total, score, item in rows]
