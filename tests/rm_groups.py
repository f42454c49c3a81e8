"""Trace groups that a tiny reward model learns in seconds (a good trace adds, a flawed one subtracts somewhere), and
the configuration of a training on them."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from tracelift_ray.data.rubric_records import RubricRecord, RubricTrace
from tracelift_ray.reasoning_rm.training.settings import LoraSettings, LossSettings, RankSettings, TrainRmConfig
from tracelift_ray.types import Problem


def adding_groups(count: int, negatives: int = 5, seed: int = 0) -> list[RubricRecord]:
    """``count`` math groups whose words are all in the ``word`` tokenizer of ``tests.tiny``; at most 9 negatives."""
    rng = random.Random(seed)
    groups = []
    for number in range(count):
        values = rng.sample(range(100), 4)
        good = " plus ".join(map(str, values))
        bad = []
        for place in range(negatives):
            signs = ["plus"] * 3
            signs[place % 3] = "minus"
            turn = place // 3
            added = values[1 + turn :] + values[1 : 1 + turn]
            rest = (f"{sign} {value}" for sign, value in zip(signs, added, strict=True))
            bad.append(RubricTrace(f"{values[0]} {' '.join(rest)}", (4, 1, 3, 2, 0), 0.25, f"minus_{place % 3}"))
        problem = Problem(
            id=f"adding-{number}",
            task="math",
            statement=f"add the number {' and '.join(map(str, values))}",
            task_type="math",
            answer=str(sum(values)),
        )
        groups.append(RubricRecord(problem, (RubricTrace(good, (4, 4, 4, 4, 4), 1.0),), tuple(bad), "adding"))
    return groups


def training_config(model: str, groups: str, output: str, **changes: Any) -> TrainRmConfig:
    """A short training of a tiny model on the CPU, with ``changes``."""
    config = TrainRmConfig(
        model=model,
        groups=groups,
        heldout_groups=None,
        output=output,
        on_error="strict",
        max_tests=8,
        heldout_fraction=0.2,
        show_problem=True,
        seed=0,
        epochs=1,
        max_steps=0,
        groups_per_step=4,
        micro_batch_tokens=100,
        share_prefixes=True,
        negatives_per_group=4,
        max_length=128,
        eval_every=0,
        eval_groups=0,
        eval_batch_tokens=2048,
        patience=0,
        save_every=0,
        lr=1e-3,
        head_lr=1e-3,
        warmup_steps=2,
        weight_decay=0.01,
        grad_clip=1.0,
        dropout=0.0,
        dtype="float32",
        save_dtype="float32",
        gradient_checkpointing=False,
        device="cpu",
        log_every=1,
        wandb="disabled",
        project="tests",
        ranks=RankSettings(1, 0, 60.0, 60.0),
        lora=LoraSettings(0, 8, 0.0, 0),
        loss=LossSettings(1.0, 0.5, 0.7, 0.1, 0.15, 0.5),
    )
    return dataclasses.replace(config, **changes)
