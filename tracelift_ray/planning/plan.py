"""What a run would do, as text for people: resources, memory, batch arithmetic, the reward in force, and every path.

Pure: the cluster's resources are given, nothing is started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import StringIO
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tracelift_ray.config.paths import DEMO, GYM
from tracelift_ray.config.schema import DataConfig, RewardConfig, RunConfig
from tracelift_ray.data.gym import GYM_COUNT, is_endless
from tracelift_ray.data.readings import reading_of
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.planning.memory.changes import smallest_change
from tracelift_ray.planning.memory.holdings import MemoryPlan, memory_plan
from tracelift_ray.planning.memory.table import memory_lines, memory_table
from tracelift_ray.planning.placement import Assignment, PlacementError, place
from tracelift_ray.planning.resources import ClusterResources, Node, PoolDemand, demands, shortfalls
from tracelift_ray.reasoning_rm.scoring.kinds import scorer_kind
from tracelift_ray.reward.arms import ARMS, requirements
from tracelift_ray.reward.forms import RewardForm
from tracelift_ray.reward.turns import E2E
from tracelift_ray.tasks.gym import GymTask
from tracelift_ray.tasks.table import TASKS, task_of

_WIDTH = 110


class _Baseline(NamedTuple):
    """The words of the plan for a choice of ``reward.baseline``: what is sampled, and when nothing is."""

    words: str
    unless: str


_BASELINES = {
    "per_group": _Baseline("{reward.num_samples} samples a group", ""),
    "cached": _Baseline("{reward.cached_samples} cached samples", " where not in the cache"),
    "pooled": _Baseline(
        "the problem's samples so far, {reward.baseline_samples} more a group up to {reward.cached_samples}, and a "
        "prior that counts for {reward.baseline_strength:g}",
        " until {reward.cached_samples} of the problem are pooled",
    ),
}
NO_CHANGE = (
    "No change of the learner's or the engines' settings makes it fit: use larger or more GPUs, or smaller models"
)


@dataclass(frozen=True)
class Fit:
    """How a run fits a cluster.

    Attributes:
        assignments: the map of its workers, empty where the machines are not known or have no room.
        memory: what every worker holds.
        lacking: what there is too little of, a line each; empty where the run fits.
        advice: what would make it fit, where only memory is lacking; empty elsewhere.
    """

    assignments: tuple[Assignment, ...]
    memory: MemoryPlan
    lacking: tuple[str, ...]
    advice: str = ""


def render_plan(
    config: RunConfig, resources: ClusterResources, prompts: Sequence[str] = (), found: Fit | None = None
) -> str:
    """The plan of a run against a cluster; its last line says whether the resources suffice.

    Args:
        prompts: lines that show a prompt of planner and executor.
        found: what ``fit`` says of the run, where it was asked already.
    """
    text = StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, highlight=False, markup=False)
    asked = demands(config)
    found = found or fit(config, resources)
    resume = "a new run" if config.resume == "never" else f"resume={config.resume}"
    console.print(f"{config.name}: {config.total_steps} steps, seed {config.seed}, {resume}\n")
    console.print(_resource_table(asked, resources, cluster=config.cluster.describe or config.cluster.address))
    if any(each.gpus for each in found.assignments):
        console.print(_placement_table(found.assignments, resources.machines))
    if found.memory.held:
        console.print(memory_table(found.memory))
    for title, lines in (
        ("Memory", list(memory_lines(found.memory))),
        ("A step", _batch_lines(config)),
        ("Reward", reward_lines(config.reward, _tasks(config))),
        ("Prompts", prompts),
        ("Paths", _path_lines(config)),
    ):
        if not lines:
            continue
        console.print(f"\n{title}")
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    verdict = [f"Shortfall: {line}" for line in found.lacking] or ["The resources suffice."]
    console.print("\n" + "\n".join([*verdict, found.advice]).strip(), soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def fit(config: RunConfig, resources: ClusterResources) -> Fit:
    """How the run fits; where memory is lacking, with the smallest change that would do."""
    found = _fit(config, resources)
    if not found.lacking or found.lacking != found.memory.lacking or found.memory.unknown:
        return found
    pools = list(dict.fromkeys(pool for lack in found.memory.lacks for pool in lack.pools))
    change = smallest_change(config, pools, lambda other: not _fit(other, resources).lacking)
    return replace(found, advice=f"It fits with {' '.join(change)}" if change else NO_CHANGE)


def _fit(config: RunConfig, resources: ClusterResources) -> Fit:
    lacking = shortfalls(demands(config), resources, config.cluster.share_gpus)
    assignments: tuple[Assignment, ...] = ()
    if not lacking and resources.machines:
        try:
            assignments = _map(
                demands(config), resources.machines, config.cluster.share_gpus, config.stream.weight_transfer
            )
        except PlacementError as error:
            lacking = [str(error)]
    memory = memory_plan(config, resources, assignments)
    return Fit(assignments, memory, (*lacking, *memory.lacking))


#: A change of memory settings mostly leaves the map as it is.
_map = lru_cache(maxsize=16)(place)


def _resource_table(asked: tuple[PoolDemand, ...], resources: ClusterResources, cluster: str) -> Table:
    table = Table("pool")
    for column in ("workers", "CPUs each", "GPUs each", "CPUs", "GPUs"):
        table.add_column(column, justify="right")
    for pool in asked:
        numbers = (pool.workers, pool.cpus, pool.gpus, pool.total_cpus, pool.total_gpus)
        table.add_row(pool.name, *(f"{number:g}" for number in numbers))
    table.add_section()
    workers = sum(pool.workers for pool in asked)
    cpus, gpus = sum(pool.total_cpus for pool in asked), sum(pool.total_gpus for pool in asked)
    table.add_row("all", f"{workers}", "", "", f"{cpus:g}", f"{gpus:g}")
    nodes = f"{resources.nodes} node" + ("" if resources.nodes == 1 else "s")
    table.add_row(f"cluster={cluster}, {nodes}", "", "", "", f"{resources.cpus:g}", f"{resources.gpus:g}")
    return table


def _placement_table(assignments: Sequence[Assignment], machines: Sequence[Node]) -> Table:
    """Node by node, who is on which GPU."""
    table = Table(title=None)
    table.add_column("node")
    width = max(node.gpus for node in machines)
    for gpu in range(width):
        table.add_column(f"GPU {gpu}", overflow="fold")
    table.add_column("CPUs alone")
    for node in machines:
        here = [each for each in assignments if each.node == node.name]
        cells = []
        for gpu in range(width):
            there = [f"{each.pool} {each.index}" for each in here if gpu in each.gpus]
            cells.append(", ".join(there) if gpu < node.gpus else "")
        alone = Counter(each.pool for each in here if not each.gpus)
        table.add_row(node.name, *cells, ", ".join(f"{count} {pool}" for pool, count in alone.items()))
    return table


def _batch_lines(config: RunConfig) -> list[str]:
    algorithm, reward, learner = config.algorithm, config.reward, config.learner
    required = requirements(reward)
    groups, size = algorithm.groups_per_step, algorithm.group_size
    traces = groups * size
    samples = traces * required.samples
    parts = [f"{traces} traces x {required.samples}"] if samples else []
    if required.baseline:
        parts.append(f"{groups} baselines x {required.baseline}")
        samples += groups * required.baseline
    if required.baseline:
        parts[-1] += _BASELINES[reward.baseline].unless.format(reward=reward)
    bound = config.stream.max_staleness
    staleness = f"traces up to {bound} policy versions old" if bound else "strictly on-policy"
    lines = [
        f"planner: {groups} groups x {size} = {traces} traces of up to {config.planner.sampling.max_new_tokens} tokens",
        f"executor: {samples} samples{' (' + ' + '.join(parts) + ')' if parts else ''} of up to "
        f"{config.executor.sampling.max_new_tokens} tokens, each verified",
        f"reasoning RM: {traces if required.rubric else 0} scores",
        f"learner: {learner.num_workers} ranks, ZeRO {learner.zero_stage}, about {traces / learner.num_workers:g} "
        f"traces a rank, micro-batches of up to {learner.micro_batch_tokens} tokens, "
        f"{algorithm.updates_per_batch} x update at lr {learner.lr:g}",
        f"staleness: {staleness}; weights by {config.stream.weight_transfer}",
    ]
    if config.stream.max_refills:
        lines.append(f"refills: up to {config.stream.max_refills} groups more for groups without signal")
    if config.evaluation.problems:
        lines.append(_evaluation_line(config))
    return lines


def _evaluation_line(config: RunConfig) -> str:
    evaluation = config.evaluation
    when = ["before the first step"] if evaluation.at_start else []
    when += [f"every {evaluation.every} steps"] if evaluation.every else []
    return (
        f"evaluation ({', '.join([*when, 'at the end'])}): {evaluation.problems} held-out problems a task, "
        f"{evaluation.num_samples} executor samples each with and without the trace"
    )


def _tasks(config: RunConfig) -> tuple[str, ...]:
    """The tasks that the data can hold, as far as names and formats tell."""
    found = [_tasks_of(source, config.data) for source in config.data.train]
    return tuple(task for task in TASKS if not all(found) or any(task in some for some in found))


def _tasks_of(source: str, data: DataConfig) -> tuple[str, ...]:
    """The tasks that a source can hold; none where nothing tells."""
    if source.startswith(DEMO):
        return (source.removeprefix(DEMO),)
    if source.startswith(GYM):
        return (GymTask.name,)
    format = reading_of(source, data.format).format
    return tuple(name for name, task in TASKS.items() if format in task.formats)


def reward_lines(reward: RewardConfig, tasks: Sequence[str]) -> list[str]:
    """The reward in force as formulas with their constants, one line for each task, and what its letters mean."""
    arm = ARMS[reward.arm]
    forms = {task: task_of(task).reward_form for task in tasks}
    meanings = _meanings(reward, forms.values())
    columns = zip(*(arm.letters(form) for form in forms.values()), strict=True)
    letters = dict.fromkeys(letter for column in columns for letter in column)
    lowest = ", ".join(f"{arm.lowest(form, reward):g} ({task})" for task, form in forms.items())
    malformed = {"floor": f"no executor call, R = {lowest}", "whole_text": "the whole text is the trace"}
    return [
        f"arm {reward.arm}",
        *(f"{task}: R = {arm.formula(form, reward)}" for task, form in forms.items()),
        *(f"{letter}: {meanings[letter]}" for letter in letters),
        f"malformed traces: {malformed[reward.malformed]}; cut by length: {reward.overlong}",
    ]


def _meanings(reward: RewardConfig, forms: Iterable[RewardForm]) -> dict[str, str]:
    """What each letter of any of ``forms`` means, with the samples that it is measured on."""
    count = reward.num_samples
    drawn = requirements(reward).samples
    sampled = "one sample" if drawn == 1 else E2E[reward.e2e].words.format(k=count, all=drawn)
    baseline = _BASELINES[reward.baseline].words.format(reward=reward)
    meanings = {"q": "the reasoning RM's score of the trace, 0 to 1"}
    for form in forms:
        meanings |= zip(form.letters, form.meanings(reward, sampled, baseline), strict=True)
    return meanings


def rm_name(config: RunConfig) -> str:
    """What scores the traces, where the reward takes that."""
    rm = config.reasoning_rm
    return scorer_kind(rm).label(rm) if requirements(config.reward).rubric else "(none)"


def heldout_name(config: RunConfig) -> str:
    """Where the held-out problems are from."""
    data = config.data
    endless = any(is_endless(source, data.limit) for source in data.train)
    own = f"{data.heldout_fraction:g} of train" + f", {GYM_COUNT['heldout']} of each generator" * endless
    return " ".join(data.heldout) or own


def _path_lines(config: RunConfig) -> list[str]:
    paths = {
        "run_dir": config.run_dir,
        "planner": config.planner.model,
        "executor": config.executor.model,
        "reasoning_rm": rm_name(config),
        "train": " ".join(config.data.train),
        "heldout": heldout_name(config),
    }
    if is_remote(config.executor.engine):
        paths["server"] = f"{config.executor.remote.model} at {config.executor.remote.base_url}"
    if config.reward.baseline == "cached":
        paths["baselines"] = config.reward.baseline_cache
    if config.resume not in ("auto", "never"):
        paths["resume"] = config.resume
    width = max(map(len, paths))
    return [f"{name.ljust(width)}  {path}" for name, path in paths.items()]
