"""Who holds what: the parts of every worker of a run, added up on each GPU and in each node's memory.

Where the sizes of GPUs and nodes are known, ``lacking`` says with numbers what does not fit. Verifiers are not counted:
the sandbox limits what a program may use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracelift_ray.config.models import EngineConfig, JudgeConfig
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.planning.colocation import sleeping_pools
from tracelift_ray.planning.memory.learner import RankPlan, rank_plan
from tracelift_ray.planning.memory.parts import GIB, Parts
from tracelift_ray.planning.memory.serving import Load, reward_model_parts, served
from tracelift_ray.planning.memory.shape import ShapeError, read_shape
from tracelift_ray.planning.placement import LEARNER, PLANNER, Assignment
from tracelift_ray.planning.resources import ClusterResources, Node, demands
from tracelift_ray.reasoning_rm.scoring.kinds import scorer_kind
from tracelift_ray.reward.arms import requirements

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Held:
    """What each worker of one pool holds.

    Attributes:
        total: bytes on its GPU (each of them, in tensor parallel), or in its node's memory where it is on CPUs.
        idle: bytes that it keeps there while others have their turn: of a pool that sleeps while the learner works, and
            of the learner while such pools generate. Elsewhere all of ``total``.
        gpu: bytes of that GPU; None where it is not known, and on CPUs.
        context: tokens of a sequence of which its cache admits ``admits``.
        rank: of the learner.
    """

    pool: str
    workers: int
    gpus: bool
    parts: Parts
    total: float
    idle: float
    gpu: float | None = None
    admits: float | None = None
    context: int = 0
    rank: RankPlan | None = None


@dataclass(frozen=True)
class Lack:
    """What does not fit, with the arithmetic, and the pools of which at least one has to hold less."""

    line: str
    pools: tuple[str, ...]


@dataclass(frozen=True)
class MemoryPlan:
    """What every pool holds, what could not be planned (one line each), and what does not fit."""

    held: tuple[Held, ...]
    unknown: tuple[str, ...]
    lacks: tuple[Lack, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """A line for each lack."""
        return tuple(lack.line for lack in self.lacks)


def memory_plan(config: RunConfig, resources: ClusterResources, assignments: Sequence[Assignment] = ()) -> MemoryPlan:
    """The plan of a run; without the map of its workers nothing is added up."""
    machines = {node.name: node for node in resources.machines}
    held, unknown = [], []
    for demand in demands(config):
        where = [machines[each.node] for each in assignments if each.pool == demand.name and each.gpus]
        sizes = [node.gpu_memory_gib for node in where or resources.machines if node.gpus]
        gpu = min((size * GIB for size in sizes if size is not None), default=None)
        try:
            found = _held(config, demand.name, demand.workers, gpu if demand.gpus > 0 else None, demand.gpus > 0)
        except ShapeError as error:
            unknown.append(f"{demand.name}: {error}")
            continue
        if found is not None:
            held.append(found)
    lacks = [lack for each in held for lack in _cache_lacks(config, each)]
    if not unknown:
        lacks += _gpu_lacks(held, assignments, machines) + _node_lacks(held, assignments, machines)
    return MemoryPlan(tuple(held), tuple(unknown), tuple(lacks))


def _held(config: RunConfig, pool: str, workers: int, gpu: float | None, gpus: bool) -> Held | None:
    """What one worker of ``pool`` holds; None for a pool without a model of ours."""
    if pool == LEARNER:
        rank = rank_plan(config, read_shape(config.planner.model))
        total, idle = rank.parts.total, rank.lasting if sleeping_pools(config) else rank.parts.total
        return Held(pool, workers, gpus, rank.parts, total, idle, gpu, rank=rank)
    engine = engine_of(config, pool)
    if engine is None and pool == "reasoning_rm":
        directory = scorer_kind(config.reasoning_rm).directory(config.reasoning_rm)
        if directory is None:
            return None
        parts = reward_model_parts(config.reasoning_rm, read_shape(directory.path)).on(gpus)
        return _asleep(config, Held(pool, workers, gpus, parts, parts.total, parts.total, gpu))
    if engine is None or is_remote(engine[1]) or (gpus and gpu is None):  # shares of an unknown whole
        return None
    model, settings, load = engine
    shape = read_shape(model)
    found = served(settings, shape, load, gpu)
    parts = found.parts
    if pool == PLANNER and config.stream.sends_changes:  # in each of its workers, of 16 bits
        parts = replace(parts, host=parts.host + 2.0 * shape.parameters * settings.tensor_parallel_size)
    parts = parts.on(gpus)
    total = found.reserved or parts.total
    held = Held(pool, workers, gpus, parts, total, total, gpu, found.admits, settings.max_model_len)
    return _asleep(config, held)


def _asleep(config: RunConfig, held: Held) -> Held:
    """The same where it sleeps in turn: its weights, unless new ones will come, go to the node's memory."""
    if held.pool not in sleeping_pools(config):
        return held
    kept = 0.0 if held.pool == PLANNER else held.parts.weights
    return replace(held, idle=held.parts.runtime, parts=replace(held.parts, host=held.parts.host + kept))


def engine_of(config: RunConfig, pool: str) -> tuple[str, EngineConfig, Load] | None:
    """Model, engine and load of a pool of generators; None for other pools."""
    if pool == "planner":
        planner = config.planner
        load = Load(planner.pool.max_concurrency, planner.max_prompt_tokens, planner.sampling.max_new_tokens)
        return planner.model, planner.engine, load
    if pool == "executor":
        executor = config.executor
        samples = executor.pool.max_concurrency * max(1, requirements(config.reward).samples)
        return (
            executor.model,
            executor.engine,
            Load(samples, executor.max_prompt_tokens, executor.sampling.max_new_tokens),
        )
    judge = judge_of(config)
    if pool == "reasoning_rm" and judge is not None:
        new = judge.sampling.max_new_tokens
        load = Load(config.reasoning_rm.pool.max_concurrency, judge.engine.max_model_len - new, new)
        return judge.model, judge.engine, load
    return None


def judge_of(config: RunConfig) -> JudgeConfig | None:
    """The judge of a run whose reasoning RM is one."""
    return config.reasoning_rm.judge if scorer_kind(config.reasoning_rm).part == "judge" else None


def engine_key(pool: str) -> str:
    """Where the settings of a pool's engine are."""
    return "reasoning_rm.judge.engine" if pool == "reasoning_rm" else f"{pool}.engine"


def _cache_lacks(config: RunConfig, held: Held) -> list[Lack]:
    """An engine whose cache does not hold a single sequence of full length does not start."""
    if held.admits is None or held.admits >= 1:
        return []
    key, parts = engine_key(held.pool), held.parts
    one = parts.cache / held.admits if parts.cache > 0 else 0.0
    if not held.gpus:
        needs = f"a sequence of {key}.max_model_len={held.context} needs {gib(one)} GiB of cache"
        return [Lack(f"{held.pool}: {needs}, {key}.kv_cache_gib gives {gib(parts.cache)}", (held.pool,))]
    engine = engine_of(config, held.pool)
    assert engine is not None and held.gpu is not None
    share = engine[1].gpu_memory_utilization
    line = (
        f"{held.pool}: {key}.gpu_memory_utilization={share:g} of {gib(held.gpu)} GiB is {gib(held.total)}; weights "
        f"{gib(parts.weights)}, work {gib(parts.work)} and runtime {gib(parts.runtime)} leave {gib(parts.cache)} of "
        f"cache, too little for one sequence of {key}.max_model_len={held.context}"
    )
    return [Lack(line, (held.pool,))]


def _gpu_lacks(held: Sequence[Held], assignments: Sequence[Assignment], machines: dict[str, Node]) -> list[Lack]:
    """The GPU that lacks most, and how many lack like it."""
    by_pool = {each.pool: each for each in held if each.gpus}
    on_gpu: dict[tuple[str, int], list[Held]] = {}
    for each in assignments:
        for gpu in each.gpus:
            if each.pool in by_pool:
                on_gpu.setdefault((each.node, gpu), []).append(by_pool[each.pool])
    over = []
    for (name, gpu), there in on_gpu.items():
        size = machines[name].gpu_memory_gib
        when, turn = max(_turns(there), key=lambda turn: sum(each.total for each in turn[1]))
        total = sum(each.total for each in turn)
        if size is not None and total > size * GIB * (1 + _ROUNDING):
            line = f"GPU {gpu} of {name}{when}: {_sum(turn, total)} GiB, it has {size:g}"
            over.append((total - size * GIB, _lack(line, there)))
    return _worst(over, "GPUs")


def _turns(there: Sequence[Held]) -> list[tuple[str, list[Held]]]:
    """Who holds how much at a time, of workers on one GPU: in turns where some sleep while the learner works."""
    if all(each.idle == each.total for each in there):
        return [("", list(there))]
    generating = [replace(each, total=each.idle) if each.pool == LEARNER else each for each in there]
    learning = [each if each.pool == LEARNER else replace(each, total=each.idle) for each in there]
    return [(" while engines generate", generating), (" while the learner works", learning)]


def _node_lacks(held: Sequence[Held], assignments: Sequence[Assignment], machines: dict[str, Node]) -> list[Lack]:
    """The same for the memory of the nodes."""
    by_pool = {each.pool: each for each in held}
    over = []
    for name, node in machines.items():
        counts = Counter(each.pool for each in assignments if each.node == name and each.pool in by_pool)
        there = []
        for pool, count in counts.items():
            each = by_pool[pool]
            there.append(replace(each, total=count * (each.parts.host if each.gpus else each.total)))
        total = sum(each.total for each in there)
        if node.memory_gib is not None and total > node.memory_gib * GIB:
            line = f"the memory of {name}: {_sum(there, total)} GiB, it has {node.memory_gib:g}"
            over.append((total - node.memory_gib * GIB, _lack(line, there)))
    return _worst(over, "nodes")


def _sum(there: Sequence[Held], total: float) -> str:
    parts = " + ".join(f"{each.pool} {gib(each.total)}" for each in there)
    return parts if len(there) == 1 else f"{parts} = {gib(total)}"


def _lack(line: str, there: Sequence[Held]) -> Lack:
    return Lack(line, tuple(each.pool for each in there))


def _worst(over: list[tuple[float, Lack]], what: str) -> list[Lack]:
    if not over:
        return []
    worst = max(over, key=lambda each: each[0])[1]
    more = f" (and {len(over) - 1} more {what} like it)" if len(over) > 1 else ""
    pools = dict.fromkeys(pool for _, lack in over for pool in lack.pools)
    return [Lack(worst.line + more, tuple(pools))]


def gib(size: float) -> str:
    """Bytes in GiB, as in messages and tables."""
    amount = size / GIB
    return f"{amount:.{3 if abs(amount) < 0.1 else 2 if abs(amount) < 10 else 1}f}"
