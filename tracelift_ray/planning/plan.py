"""What a run would do, as text for people: resources, batch arithmetic, the reward in force, and every path.

Pure: the cluster's resources are given, nothing is started.
"""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table

from tracelift_ray.config.schema import RewardConfig, RunConfig
from tracelift_ray.engines.kinds import is_remote, served_model
from tracelift_ray.planning.resources import ClusterResources, PoolDemand, demands, shortfalls
from tracelift_ray.reward.needs import reward_needs

_WIDTH = 110


def render_plan(config: RunConfig, resources: ClusterResources) -> str:
    """The plan of a run against a cluster; its last line says whether the resources suffice."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None, highlight=False, markup=False)
    asked = demands(config)
    lacking = shortfalls(asked, resources)
    resume = "a new run" if config.resume == "never" else f"resume={config.resume}"
    console.print(f"{config.name}: {config.total_steps} steps, seed {config.seed}, {resume}\n")
    console.print(_resource_table(asked, resources, cluster=config.cluster.address))
    for title, lines in (
        ("A step", _batch_lines(config)),
        ("Reward", reward_lines(config.reward, _tasks(config))),
        ("Paths", _path_lines(config)),
    ):
        console.print(f"\n{title}")
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    verdict = [f"Shortfall: {line}" for line in lacking] or ["The resources suffice."]
    console.print("\n" + "\n".join(verdict), soft_wrap=True)
    file = console.file
    assert isinstance(file, StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _resource_table(asked: tuple[PoolDemand, ...], resources: ClusterResources, cluster: str) -> Table:
    table = Table(title=None)
    table.add_column("pool")
    for column in ("workers", "CPUs each", "GPUs each", "CPUs", "GPUs"):
        table.add_column(column, justify="right")
    for pool in asked:
        numbers = (pool.workers, pool.cpus, pool.gpus, pool.total_cpus, pool.total_gpus)
        table.add_row(pool.name, *(f"{number:g}" for number in numbers))
    table.add_section()
    workers, cpus, gpus = (
        sum(pool.workers for pool in asked),
        sum(pool.total_cpus for pool in asked),
        sum(pool.total_gpus for pool in asked),
    )
    table.add_row("all", f"{workers}", "", "", f"{cpus:g}", f"{gpus:g}")
    nodes = f"{resources.nodes} node" + ("" if resources.nodes == 1 else "s")
    table.add_row(f"cluster={cluster}, {nodes}", "", "", "", f"{resources.cpus:g}", f"{resources.gpus:g}")
    return table


def _batch_lines(config: RunConfig) -> list[str]:
    algorithm, reward, learner = config.algorithm, config.reward, config.learner
    needs = reward_needs(reward)
    groups, size = algorithm.groups_per_step, algorithm.group_size
    traces = groups * size
    samples = traces * needs.samples
    parts = [f"{traces} traces x {needs.samples}"] if samples else []
    if needs.baseline:
        parts.append(f"{groups} baselines x {needs.baseline}")
        samples += groups * needs.baseline
    if reward.baseline == "cached" and needs.baseline:
        parts[-1] += " where not in the cache"
    lines = [
        f"planner: {groups} groups x {size} = {traces} traces of up to {config.planner.sampling.max_new_tokens} tokens",
        f"executor: {samples} samples{' (' + ' + '.join(parts) + ')' if parts else ''} of up to "
        f"{config.executor.sampling.max_new_tokens} tokens, each verified",
        f"reasoning RM: {traces if needs.rubric else 0} scores",
        f"learner: {learner.num_workers} ranks, ZeRO {learner.zero_stage}, about {traces / learner.num_workers:g} "
        f"traces a rank, micro-batches of up to {learner.micro_batch_tokens} tokens, "
        f"{algorithm.updates_per_batch} x update at lr {learner.lr:g}",
        _staleness_line(config),
    ]
    if config.stream.max_refills:
        lines.append(f"refills: up to {config.stream.max_refills} groups more for groups without signal")
    if config.evaluation.problems:
        lines.append(_evaluation_line(config))
    return lines


def _staleness_line(config: RunConfig) -> str:
    bound = config.stream.max_staleness
    meaning = "strictly on-policy" if bound == 0 else f"traces up to {bound} policy versions old"
    return f"staleness: {meaning}; weights by {config.stream.weight_transfer}"


def _evaluation_line(config: RunConfig) -> str:
    evaluation = config.evaluation
    when = ["before the first step"] if evaluation.at_start else []
    when += [f"every {evaluation.every} steps"] if evaluation.every else []
    return (
        f"evaluation ({', '.join([*when, 'at the end'])}): {evaluation.problems} held-out problems a task, "
        f"{evaluation.num_samples} executor samples each with and without the trace"
    )


def _tasks(config: RunConfig) -> tuple[str, ...]:
    """The tasks that the data can hold, as far as names and format tell."""
    by_format = {"gsm8k": ("math",), "mbpp": ("code",), "humaneval": ("code",), "math500": ("math",)}
    if all(source.startswith("demo:") for source in config.data.train):
        names = {source.removeprefix("demo:") for source in config.data.train}
        return tuple(task for task in ("math", "code") if task in names)
    return by_format.get(config.data.format, ("math", "code"))


def reward_lines(reward: RewardConfig, tasks: tuple[str, ...] = ("math", "code")) -> list[str]:
    """The reward in force as formulas with their constants, one line for each task, and what its letters mean."""
    forms = {"math": _math_form(reward), "code": _code_form(reward)}
    letters = {letter for task in tasks for letter in _letters(reward.arm, task)}
    lines = [f"arm {reward.arm}", *(f"{task}: R = {forms[task]}" for task in tasks)]
    lines += [f"{letter}: {meaning}" for letter, meaning in _meanings(reward).items() if letter in letters]
    malformed = {"floor": "no executor call, R = 0", "whole_text": "the whole text is the trace"}
    lines.append(f"malformed traces: {malformed[reward.malformed]}; cut by length: {reward.overlong}")
    return lines


def _letters(arm: str, task: str) -> tuple[str, ...]:
    """The letters in the formula of an arm."""
    execution, difference = ("e2e", "u") if task == "math" else ("e", "c")
    return {
        "tracelift": (execution, difference, "q"),
        "uplift_only": (execution, difference),
        "exec_only": (execution,),
        "rm_only": ("q",),
    }[arm]


def _math_form(reward: RewardConfig) -> str:
    a, b = reward.math_execution_weight, reward.math_grounded_weight
    grounded = {"tracelift": f"{a:g} e2e + {b:g} q u", "uplift_only": f"{a:g} e2e + {b:g} u"}
    return grounded.get(reward.arm) or {"exec_only": "e2e", "rm_only": "q"}[reward.arm]


def _code_form(reward: RewardConfig) -> str:
    w = reward.code_grounded_weight
    upper = 1 + w if reward.clip_max is None else reward.clip_max
    grounded = {
        "tracelift": f"clip(e + {w:g} q c, 0, {upper:g})",
        "uplift_only": f"clip(e + {w:g} c, 0, {upper:g})",
    }
    return grounded.get(reward.arm) or {"exec_only": "e", "rm_only": "q"}[reward.arm]


def _meanings(reward: RewardConfig) -> dict[str, str]:
    count = reward.num_samples
    one = f"one more sample, apart from the K = {count}" if reward.e2e == "fresh" else f"the K = {count} samples, mean"
    if reward_needs(reward).samples == 1:
        one = "one sample"
    draws = f"{count} samples a group" if reward.baseline == "per_group" else f"{reward.cached_samples} cached samples"
    ties = ", ".join(f"{n} of {count}: {c:g}" for n, c in sorted(reward.tie_table.items()))
    ties = f"{ties}, else n / {count}" if ties else f"n / {count}"
    return {
        "e2e": f"success of {one}",
        "e": f"execution reward, {reward.execution_style}, of {one}",
        "u": f"uplift, mean success of {count} samples with the trace minus without (baseline: {draws})",
        "c": f"+1 where the trace helps, -1 where it hurts, on a tie by successes n ({ties}; baseline: {draws})",
        "q": "the reasoning RM's score of the trace, 0 to 1",
    }


def _scorer_line(config: RunConfig) -> str:
    """Where rubric scores come from."""
    rm = config.reasoning_rm
    if not reward_needs(config.reward).rubric:
        return "(none)"
    if rm.remote is not None and rm.backend == "remote":
        return f"service at {rm.remote.url}"
    if rm.judge is not None and rm.backend == "judge":
        at = f" at {rm.judge.remote.base_url}" if is_remote(rm.judge.engine) else ""
        return f"judge {served_model(rm.judge)}{at}"
    return rm.model


def _path_lines(config: RunConfig) -> list[str]:
    paths = {
        "run_dir": config.run_dir,
        "planner": config.planner.model,
        "executor": config.executor.model,
        "reasoning_rm": _scorer_line(config),
        "train": " ".join(config.data.train),
        "heldout": " ".join(config.data.heldout) or f"{config.data.heldout_fraction:g} of train",
    }
    if is_remote(config.executor.engine):
        paths["server"] = f"{config.executor.remote.model} at {config.executor.remote.base_url}"
    if config.reward.baseline == "cached":
        paths["baselines"] = config.reward.baseline_cache
    if config.resume not in ("auto", "never"):
        paths["resume"] = config.resume
    width = max(map(len, paths))
    return [f"{name.ljust(width)}  {path}" for name, path in paths.items()]
