"""What the workers of each preset hold on their GPUs, by the planner's own memory plan: computed, not measured.

    python -m benchmarks.sizes                 # writes the tables of docs/cluster.md; seconds, no GPU

Models are directories of published shapes without weights (``tests/unit/planning/models.py``); each preset is planned
against the cluster of ``docs/clusters/`` that it is for, as ``dry_run=true`` plans it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.pages import write_part
from launch.composition import composed
from tests.tiny import make_tokenizer
from tests.unit.planning import models
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.described_cluster import described_cluster
from tracelift_ray.planning.memory.holdings import Held, gib
from tracelift_ray.planning.memory.learner import rank_plan
from tracelift_ray.planning.memory.shape import read_shape
from tracelift_ray.planning.plan import fit
from tracelift_ray.planning.run_config import to_run_config

PAGE = ROOT / "docs" / "cluster.md"
PART = "sizes, written by python -m benchmarks.sizes"
NAMES = {
    models.QWEN_0_5B: "0.5 B",
    models.QWEN_1_5B: "1.5 B",
    models.QWEN_7B: "7 B",
    models.LLAMA_8B: "8 B",
    models.LLAMA_70B: "70 B",
}
#: Numbers of learner ranks in the second table.
RANKS = (1, 2, 4, 8, 16)
POOLS = ("planner", "executor", "reasoning_rm", "learner")


def tables(root: Path) -> str:
    """Both tables; ``root`` is a folder to make models in."""
    made = make_models(root)
    lines = [
        "| preset, its GPUs | pool, model | workers | weights | training | cache | other | total | of |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, (shapes, cluster) in models.FITTING.items():
        if name.startswith("paper"):  # the sizes of gpu_1x8
            continue
        run = preset(name, made, root)
        held = {each.pool: each for each in fit(run, described_cluster(run.cluster.describe)).memory.held}
        of = dict(zip(POOLS, (*shapes, shapes[0]), strict=True))
        rows = [row(held[pool], NAMES[of[pool]]) for pool in POOLS if pool in held]
        lines += [f"| {f'`{name}`, {cluster}' if not place else ''} {line}" for place, line in enumerate(rows)]
    return "\n".join([*lines, "", *ranks_table(preset("gpu_1x8", made, root), made)])


def row(held: Held, model: str) -> str:
    """The cells of one pool, in GiB of one worker on one of its GPUs."""
    parts = held.parts
    training = parts.gradients + parts.optimizer + parts.activations + parts.logits
    cells = (parts.weights, training, parts.cache, parts.work + parts.buffers + parts.runtime, held.total)
    amounts = " | ".join(gib(amount) if amount else "" for amount in cells)
    return f"| {held.pool}, {model} | {held.workers} | {amounts} | {gib(held.gpu or 0)} |"


def ranks_table(run: RunConfig, made: Mapping[models.Shape, str]) -> Iterator[str]:
    """What a rank of the learner holds, by the planner's size and the number of ranks."""
    yield f"| planner | {' | '.join(f'{ranks} ranks' if ranks > 1 else '1 rank' for ranks in RANKS)} |"
    yield f"|---|{'--:|' * len(RANKS)}"
    for shape, name in NAMES.items():
        totals = []
        for ranks in RANKS:
            learner = replace(run.learner, num_workers=ranks)
            totals.append(gib(rank_plan(replace(run, learner=learner), read_shape(made[shape])).parts.total))
        yield f"| {name} | {' | '.join(totals)} |"


def make_models(root: Path) -> dict[models.Shape, str]:
    """A directory for each shape."""
    made = {shape: models.make_checkpoint(root / name.replace(" ", ""), shape) for shape, name in NAMES.items()}
    for directory in made.values():
        make_tokenizer().save_pretrained(directory)
    return made


def preset(name: str, made: Mapping[models.Shape, str], root: Path) -> RunConfig:
    """A preset with models of its sizes, for the cluster that it fits."""
    (planner, executor, scorer), cluster = models.FITTING[name]
    problems = root / "problems.jsonl"
    problems.write_text(json.dumps({"id": "1", "task": "math", "statement": "1 + 1?", "answer": "2"}) + "\n")
    judge = "judge." if name == "gpu_4x8_70b" else ""
    given = (
        f"planner.model={made[planner]}",
        f"executor.model={made[executor]}",
        f"reasoning_rm.{judge}model={made[scorer]}",
    )
    where = (
        f"data.train=[{problems}]",
        f"runs_root={root}/runs",
        f"cluster.describe={ROOT}/docs/clusters/{cluster}.yaml",
    )
    return to_run_config(composed("config", (f"experiment={name}", *given, *where, "dry_run=true")))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_part(PAGE, PART, tables(Path(folder)))
    print(f"wrote {PAGE.relative_to(ROOT)}")
