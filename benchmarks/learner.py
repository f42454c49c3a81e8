"""Tokens per second of the learner's update against a bare PyTorch loop, on the same batch and model.

    python -m benchmarks.learner [--rounds 5] [--within SECONDS] [--model DIR]

Ours is one rank of the learner, with DeepSpeed, the clipped loss, its correction and all metrics. The other side is
what one writes by hand: a transformers model, AdamW, rows sorted by length and padded to the longest, -A times the
mean log-prob, clipped gradients. Both run in this process on one thread and take turns, and with them a learner with
``learner.layout=packed``, which has no padding. The share of padding in the rows of the configured layout is counted
from its plan.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import torch

from benchmarks.figures import Figure, deliver, median, parser, turns
from benchmarks.systems import configured, title
from tracelift_ray.config.schema import LearnerConfig, RunConfig
from tracelift_ray.rl.learner import Learner
from tracelift_ray.rl.preparation import prepare
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.packing import plan_micro_batches
from tracelift_ray.training.ranks import RankPlace, free_port
from tracelift_ray.types import TrainBatch, TrainSample

GOAL, GOAL_PADDING = 0.9, 0.05
#: Traces of the batch: of the demo's step, and of a model that trains fifty tokens a second.
DEMO_TRACES, REAL_TRACES = 192, 3


def make_batch(run: RunConfig, traces: int) -> TrainBatch:
    """Real prompts, and completions of random tokens whose lengths lie between a third and all of the limit."""
    prepared, rng, most = prepare(run), random.Random(0), run.planner.sampling.max_new_tokens
    samples = []
    for problem in prepared.train[:traces]:
        prompt = prepared.settings.planner_prompts.planner(problem).token_ids
        completion = tuple(rng.choice(prompt) for _ in range(rng.randint(most // 3, most)))
        samples.append(TrainSample(prompt, completion, (-1.0,) * len(completion), rng.gauss(0.0, 1.0)))
    tokens = sum(len(each.completion_ids) for each in samples)
    return TrainBatch(tuple(samples), traces, tokens, traces)


class Bare:
    """The loop that one writes by hand."""

    def __init__(self, run: RunConfig) -> None:
        from transformers import AutoModelForCausalLM

        self.budget = run.learner.micro_batch_tokens
        self.temperature = run.planner.sampling.temperature
        self.clip = run.learner.grad_clip
        self.model: Any = AutoModelForCausalLM.from_pretrained(run.planner.model, dtype=torch.float32).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=run.learner.lr, betas=run.learner.betas)

    def update(self, batch: TrainBatch) -> None:
        """One optimizer step."""
        rows: list[TrainSample] = []
        for sample in sorted(batch.samples, key=len, reverse=True):
            if rows and (len(rows) + 1) * len(rows[0]) > self.budget:
                self.accumulate(rows, batch.num_tokens)
                rows = []
            rows.append(sample)
        self.accumulate(rows, batch.num_tokens)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def accumulate(self, rows: Sequence[TrainSample], tokens: int) -> None:
        """Add the gradient of some rows."""
        longest = len(rows[0])
        ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest)
        weights = torch.zeros(len(rows), longest - 1)
        for row, sample in enumerate(rows):
            ids[row, : len(sample)] = torch.tensor((*sample.prompt_ids, *sample.completion_ids))
            mask[row, : len(sample)] = 1
            weights[row, len(sample.prompt_ids) - 1 : len(sample) - 1] = sample.advantage
        logits = self.model(input_ids=ids, attention_mask=mask).logits[:, :-1] / self.temperature
        logprobs = torch.log_softmax(logits, dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        (-(weights * logprobs).sum() / tokens).backward()


def padding(run: RunConfig, batch: TrainBatch) -> float:
    """The share of the learner's rows that is padding."""
    lengths, packed = [len(each) for each in batch.samples], run.learner.layout == "packed"
    if packed:
        return 0.0
    (rank,) = plan_micro_batches(lengths, 1, run.learner.micro_batch_tokens).ranks
    return 1 - sum(lengths) / sum(len(rows) * max(lengths[i] for i in rows) for rows in rank)


def started(run: RunConfig, place: RankPlace, config: LearnerConfig) -> Learner:
    """The one rank of a learner, up."""
    distribution = Distribution.of(run.planner.sampling)
    learner = Learner(config, run.algorithm, run.planner.model, distribution, 1000, run.seed, place)
    learner.start()
    return learner


def measure(run: RunConfig, batch: TrainBatch, rounds: Iterable[int]) -> list[tuple[float, float, float]]:
    """Tokens per second of the learner, of a packed one and of the bare loop, from round 1 on; round 0 warms up."""
    place = RankPlace(0, 1, "127.0.0.1", free_port())
    ours = started(run, place, run.learner)
    packed = started(run, place, replace(run.learner, layout="packed"))  # stays in the group that ``ours`` joined
    sides, found = (ours, packed, Bare(run)), []
    tokens = sum(map(len, batch.samples))
    for number in rounds:
        rates = []
        for side in sides:
            began = monotonic()
            side.update(batch)
            rates.append(tokens / (monotonic() - began))
        shown = ", ".join(f"{rate:,.0f}" for rate in rates)
        print(f"round {number}: learner, packed, bare loop: {shown} tokens/s", flush=True)
        found.append((rates[0], rates[1], rates[2]))
    packed.close()
    ours.close()
    return found[1:]


def figures(model: str, rounds: Iterable[int]) -> list[Figure]:
    """The ratio of the rates, ours, and the share of padding."""
    torch.set_num_threads(1)
    with configured(model) as run:
        batch = make_batch(run, REAL_TRACES if model else DEMO_TRACES)
        found = measure(run, batch, rounds)
        padded, layout = padding(run, batch), run.learner.layout
    name = title(model)
    note = f"prompts and completions counted, {len(batch.samples)} traces, layout {layout}"
    ratios, packed = [ours / bare for ours, _, bare in found], [packed / bare for _, packed, bare in found]
    return [
        median(f"{name}, learner tokens/s / bare PyTorch", ratios, "ratio", "higher", goal=GOAL, note=note),
        median(f"{name}, packed learner tokens/s / bare PyTorch", packed, "ratio", "higher", note="no padding"),
        median(f"{name}, learner tokens/s", [ours for ours, _, _ in found], "tokens/s", "higher"),
        Figure(
            f"{name}, padding in the learner's rows",
            padded,
            "share",
            "lower",
            GOAL_PADDING,
            note=f"layout {layout}; packed has none",
        ),
    ]


def main() -> None:
    """Measure and print."""
    command = parser(__doc__, rounds=5)
    command.add_argument("--model", default="", help="directory of a model; empty: the demo's planner")
    options = command.parse_args()
    deliver(options, figures(options.model, turns(options)))


if __name__ == "__main__":
    main()
