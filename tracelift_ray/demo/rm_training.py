"""Trains the demo's reasoning RM on TraceLift-Groups that are drawn anew for every step, with the project's own loss.

The RM is the ordinary architecture on the executor's weights, with the second input of ``reasoning_rm.second_input``:
the executor's log-prob of each token of the trace. An RM of this size does not learn to check arithmetic from the text
alone; with the executor's surprise in front of it, it does.
"""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random
from typing import Any

import torch

from tracelift_ray.data.groups import TraceGroup
from tracelift_ray.demo.source import flawed_traces, group_of
from tracelift_ray.demo.tokenizer import MAX_LENGTH
from tracelift_ray.demo.training import Recipe
from tracelift_ray.demo.world import draw_problem
from tracelift_ray.reasoning_rm.batching import InputEncoder, collate
from tracelift_ray.reasoning_rm.losses import LossWeights, RubricTargets, rubric_loss
from tracelift_ray.reasoning_rm.model import ReasoningRewardModel
from tracelift_ray.reasoning_rm.second_input import FrozenLogprobs
from tracelift_ray.types import MATH_DIMENSIONS

RECIPE = Recipe(steps=250, rows_per_step=16, lr=1e-3, warmup_steps=30)  # a row here is a group
NEGATIVES = 5

_log = logging.getLogger(__name__)


def train_reasoning_rm(executor: Path, tokenizer: Any, seed: int = 2) -> ReasoningRewardModel:
    """A reasoning RM for both tasks, to be saved beside ``executor``; its heads bear the names of the math dimensions.

    Args:
        executor: the executor's directory; the RM's backbone starts from it and its log-probs are the second input.
        tokenizer: of the demo world.
    """
    torch.manual_seed(seed)
    rng = Random(seed)
    model = ReasoningRewardModel.from_backbone(
        executor, dimension_names=MATH_DIMENSIONS, second_input_model=f"../{executor.name}"
    )
    encoder = InputEncoder(tokenizer, MAX_LENGTH, FrozenLogprobs(executor))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=RECIPE.weight_decay)
    model.train()
    for step in range(RECIPE.steps):
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.lr_at(step)
        groups = [_draw_group(rng) for _ in range(RECIPE.rows_per_step)]
        loss = _loss(model, encoder, tokenizer.pad_token_id, groups)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 25 == 0:
            _log.info("step %d of %d: loss %.4f", step + 1, RECIPE.steps, loss.item())
    return model.eval()


def _draw_group(rng: Random) -> TraceGroup:
    problem = draw_problem(rng, rng.choice(("math", "code")), "train")
    return group_of(problem, flawed_traces(problem, rng, NEGATIVES))


def _loss(model: ReasoningRewardModel, encoder: InputEncoder, pad_id: int, groups: list[TraceGroup]) -> torch.Tensor:
    """The whole loss of some groups, each with all its traces."""
    traces = [(group.problem, trace) for group in groups for trace in (*group.positives, *group.negatives)]
    batch = collate(encoder.encode([(problem, trace.reasoning) for problem, trace in traces]), pad_id, "cpu")
    output = model(batch.input_ids, batch.attention_mask, batch.token_logprobs)
    targets = RubricTargets(
        labels=torch.tensor([trace.labels for _, trace in traces]),
        totals=torch.tensor([trace.total for _, trace in traces]),
        sizes=tuple(len(group.positives) + len(group.negatives) for group in groups),
    )
    return rubric_loss(output, targets, LossWeights(), num_traces=len(traces), num_groups=len(groups)).total
