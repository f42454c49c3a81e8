"""A run's actors for the parts of the bench that measure them: the demo's, or SmolLM2-135M's on the demo's problems.

A model that was not taught to close its tag writes malformed traces, which cost no executor call. So with a model of
the user's the whole text counts as the trace, and the reward model is an untrained one on the same backbone.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from actors.runtime import connected
from actors.system import RaySystem, running_system
from launch.composition import composed
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.resources import total_cpus
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.rl.preparation import Preparation, prepare

DEMO = ("experiment=quickstart",)
#: Small batches of short texts: a step of a model of 135 M parameters takes two cores half a minute.
REAL = (
    "experiment=gsm8k_smollm2_cpu",
    "data=demo",
    "reward.malformed=whole_text",
    "planner.sampling.max_new_tokens=64",
    "executor.sampling.max_new_tokens=64",
    "stream.max_refills=0",
)


@contextlib.contextmanager
def configured(model: str, overrides: Sequence[str] = ()) -> Iterator[RunConfig]:
    """The run that is measured: the demo's, or with ``model`` as planner, executor and backbone of the reward model."""
    with tempfile.TemporaryDirectory(prefix="tracelift-bench-") as directory:
        chosen = list(DEMO)
        if model:
            rm = untrained_reward_model(model, Path(directory) / "rm")
            chosen = [*REAL, f"planner.model={model}", f"executor.model={model}", f"reasoning_rm.model={rm}"]
        yield to_run_config(composed("config", [*chosen, f"runs_root={directory}", *overrides]))


@contextlib.asynccontextmanager
async def running(run: RunConfig, *, trains: bool) -> AsyncIterator[tuple[RaySystem, Preparation]]:
    """All actors of a run, up inside the ``async with``."""
    prepared = prepare(run)
    with connected(run.cluster, total_cpus(run)):
        async with running_system(run, prepared.train, trains=trains) as system:
            yield system, prepared


def untrained_reward_model(backbone: str, path: Path) -> Path:
    """A reward model whose heads know nothing, saved under ``path``: it costs what a trained one costs."""
    from transformers import AutoTokenizer

    from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel
    from tracelift_ray.tasks.table import TASKS

    names = next(iter(TASKS.values())).dimensions
    ReasoningRewardModel.from_backbone(backbone, dimension_names=names).save_pretrained(path)
    AutoTokenizer.from_pretrained(backbone, local_files_only=True).save_pretrained(path)
    for template in Path(backbone).glob("chat_template*"):
        shutil.copy(template, path)
    return path


def title(model: str) -> str:
    """What the figures of a run are called after."""
    return Path(model).name if model else "demo"
