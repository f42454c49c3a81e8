"""What a run that goes on from a checkpoint may change, key by key.

The problems, the models, their sampling, the prompts, the reward and the make-up of a batch are the run: with another
value it would be another run under an old name. How its updates are made, how long it goes on, and where and how fast
it works may change. Of the settings classes in ``identity.WITHOUT_EFFECT`` the fields named there may.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from tracelift_ray.config.identity import WITHOUT_EFFECT
from tracelift_ray.config.models import (
    ExecutorConfig,
    JudgeConfig,
    PlannerConfig,
    PlannerSamplingConfig,
    PoolConfig,
    ReasoningRmConfig,
    SamplingConfig,
    ScoringServiceConfig,
)
from tracelift_ray.config.schema import (
    AlgorithmConfig,
    ClusterConfig,
    CurriculumConfig,
    DataConfig,
    EvaluationConfig,
    LearnerConfig,
    LoraConfig,
    RewardConfig,
    RunConfig,
    StreamConfig,
    TrackingConfig,
)


class Change(Enum):
    """What another value of a key means to a run that goes on."""

    OF_A_START = "each start has a value of its own"
    MEANT = "the run goes on with it"
    ANOTHER_RUN = "it would be another run"
    MODEL = "another run, unless the directory holds the same model"
    FILES = "another run, unless the files hold the same"


#: By settings class: the names of its fields under what another value means.
TABLE: dict[type, dict[Change, str]] = {
    RunConfig: {
        Change.OF_A_START: "run_dir resume dry_run",
        Change.MEANT: "name total_steps",
        Change.ANOTHER_RUN: "seed",
    },
    PlannerConfig: {Change.MODEL: "model", Change.FILES: "prompt", Change.ANOTHER_RUN: "max_prompt_tokens"},
    ExecutorConfig: {
        Change.MODEL: "model",
        Change.FILES: "prompt",
        Change.ANOTHER_RUN: "max_prompt_tokens",
        Change.MEANT: "stop_when_answered",
    },
    SamplingConfig: {Change.ANOTHER_RUN: "temperature top_p max_new_tokens seeded"},
    PlannerSamplingConfig: {Change.ANOTHER_RUN: "temperature top_p max_new_tokens seeded top_k"},
    PoolConfig: {Change.MEANT: "workers cpus_per_worker gpus_per_worker max_concurrency deadline_s retries health_s"},
    ReasoningRmConfig: {
        Change.MODEL: "model",
        Change.MEANT: "max_batch_tokens",
        Change.ANOTHER_RUN: "backend dtype max_length remote judge",
    },
    ScoringServiceConfig: {
        Change.MEANT: "url api_key_env batch_size concurrency timeout_s deadline_s retries",
        Change.ANOTHER_RUN: "send_tests",
    },
    JudgeConfig: {Change.MODEL: "model", Change.FILES: "prompt"},
    LearnerConfig: {
        Change.MEANT: "cpus_per_worker gpus_per_worker collective offload_optimizer offload_parameters lr schedule "
        "warmup_steps grad_clip micro_batch_tokens layout sequence_parallel gradient_checkpointing update_deadline_s "
        "startup_s restarts save_every ready_share keep_checkpoints keep_best export_every keep_exports upload_command "
        "upload_deadline_s",
        # The optimizer's state on disk is of these: it lies as the first three say, and holds the others.
        Change.ANOTHER_RUN: "num_workers zero_stage dtype betas weight_decay",
    },
    LoraConfig: {
        Change.MEANT: "dropout transfer save_merged",
        Change.ANOTHER_RUN: "rank alpha target_modules rslora dora",
    },
    RewardConfig: {
        Change.MEANT: "baseline_cache",
        Change.ANOTHER_RUN: "arm num_samples e2e math_execution_weight math_grounded_weight code_grounded_weight "
        "clip_max tie_table execution_style baseline baseline_samples baseline_strength cached_samples "
        "malformed overlong leak options",
    },
    AlgorithmConfig: {
        Change.MEANT: "advantage_eps min_std std_floor clip_low clip_high clip_dual mismatch_cap correction_low "
        "correction_high k3_bound entropy_coef kl_coef",
        Change.ANOTHER_RUN: "groups_per_step group_size advantage advantage_std best_of component_weights "
        "overlong_penalty overlong_buffer length_limit loss correction kl_kind normalisation constant_length "
        "updates_per_batch",
    },
    DataConfig: {
        Change.FILES: "train heldout",
        Change.MEANT: "check_solutions solution_cache",
        Change.ANOTHER_RUN: "format fields weights heldout_fraction on_error max_problem_chars max_trace_chars "
        "max_tests limit",
    },
    CurriculumConfig: {
        Change.ANOTHER_RUN: "enabled easy_threshold hard_threshold min_samples revisit_after",
    },
    StreamConfig: {
        Change.MEANT: "max_refills min_traces max_failed_groups weight_transfer weight_encoding bucket_mib "
        "broadcast_deadline_s group_deadline_s canary_bound",
        Change.ANOTHER_RUN: "max_staleness order",
    },
    TrackingConfig: {
        Change.MEANT: "wandb project entity table_every table_rows wandb_artifacts tensorboard console quiet_s "
        "usage_s prometheus timeline timeline_steps"
    },
    ClusterConfig: {
        Change.MEANT: "address num_cpus num_gpus placement_timeout_s share_gpus object_store_mib dashboard",
        Change.OF_A_START: "describe",
    },
    EvaluationConfig: {Change.MEANT: "at_start every problems num_samples"},
}
#: Keys to which other words apply than to the same field elsewhere: the policy's engine is no measure of anything, and
#: what it computes otherwise than the learner is corrected.
AT_ONE_PLACE: dict[str, Change] = {
    "planner.engine.kind": Change.MEANT,
    "planner.engine.dtype": Change.MEANT,
    "planner.engine.extra": Change.MEANT,
}


def changes_of(cls: Any = RunConfig, prefix: str = "") -> Iterator[tuple[str, Change]]:
    """Every key of a run's configuration that holds a value, and what another one means.

    A part that may be absent has a key itself, which speaks of its absence.

    Raises:
        KeyError, ValueError: a class, or a field, of which nothing is said, or more than one thing.
    """
    for name, hint in typing.get_type_hints(cls).items():
        key = f"{prefix}{name}"
        parts = [part for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part)]
        if parts != [hint]:
            yield key, AT_ONE_PLACE.get(key) or _change(cls, name)
        for part in parts:
            yield from changes_of(part, f"{key}.")


def _change(cls: type, name: str) -> Change:
    if cls in WITHOUT_EFFECT:
        return Change.MEANT if name in WITHOUT_EFFECT[cls] else Change.ANOTHER_RUN
    (found,) = (change for change, names in TABLE[cls].items() if name in names.split())
    return found
