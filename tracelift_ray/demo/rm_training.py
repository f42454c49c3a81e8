"""Trains the demo's reasoning RM with the project's own trainer, on TraceLift-Groups of the world.

The RM is the ordinary architecture on the executor's weights, with the second input of ``reasoning_rm.second_input``:
the executor's log-prob of each token of the trace. From the text alone an RM of this size does not learn to check
arithmetic; with the executor's surprise in front of it, it does. One RM serves both tasks.
"""

from __future__ import annotations

from pathlib import Path

from tracelift_ray.demo.source import demo_groups
from tracelift_ray.demo.tokenizer import MAX_LENGTH
from tracelift_ray.reasoning_rm.dataset import dimension_names
from tracelift_ray.reasoning_rm.metrics import RmMetrics
from tracelift_ray.reasoning_rm.model import ReasoningRewardModel
from tracelift_ray.reasoning_rm.settings import LoraSettings, LossSettings, TrainRmConfig
from tracelift_ray.reasoning_rm.training import RmTrainer

GROUPS_PER_TASK = 2000
HELDOUT_GROUPS_PER_TASK = 200
SEED = 2


def training_config(executor: Path) -> TrainRmConfig:
    """The run's configuration; the RM is meant to be saved beside ``executor``."""
    return TrainRmConfig(
        model=str(executor),
        groups="demo",
        output=str(executor.parent / "reasoning_rm"),
        on_error="strict",
        max_tests=0,
        heldout_fraction=0.1,
        seed=SEED,
        epochs=1,
        max_steps=0,
        groups_per_step=16,
        groups_per_forward=16,
        negatives_per_group=5,
        max_length=MAX_LENGTH,
        eval_batch_tokens=8192,
        lr=1e-3,
        head_lr=1e-3,
        warmup_steps=30,
        weight_decay=0.01,
        grad_clip=1.0,
        dropout=0.0,
        dtype="float32",
        gradient_checkpointing=False,
        device="cpu",
        second_input_model=f"../{executor.name}",
        log_every=25,
        lora=LoraSettings(rank=0, alpha=1, dropout=0.0),
        loss=LossSettings(classification=1.0, regression=0.5, ranking=0.7, negative_ranking=0.0, negative_margin=0.15),
    )


def train_reasoning_rm(executor: Path) -> tuple[ReasoningRewardModel, RmMetrics]:
    """The RM and its quality on held-out problems of both tasks.

    Args:
        executor: the executor's directory; the backbone starts from it, and its log-probs are the second input.
    """
    trainer = RmTrainer(training_config(executor), dimension_names({"math", "code"}), print)
    train = [group for task in ("math", "code") for group in demo_groups(task, GROUPS_PER_TASK, SEED, "train")]
    held = [group for task in ("math", "code") for group in demo_groups(task, HELDOUT_GROUPS_PER_TASK, SEED, "heldout")]
    result = trainer.run(train, held)
    return trainer.model.eval(), result.heldout
