"""One build from problem file to data set: load, run the stages, clean, split, write files and card.

The directory ``out`` gets ``train.jsonl``, ``heldout.jsonl`` (where some are held out), ``left_out.jsonl``, the card
``README.md``, and in ``stages/`` what each stage made, from which an interrupted build goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import xxhash

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.data.jsonl import write_lines
from tracelift_ray.data.problems import load_problems
from tracelift_ray.data.rubric_records import load_rubric_records, write_rubric_records
from tracelift_ray.dataset.pipeline.card import data_card
from tracelift_ray.dataset.pipeline.drafts import Stages, make_drafts
from tracelift_ray.dataset.pipeline.outcome import Outcome, outcome_of
from tracelift_ray.dataset.pipeline.rule_stages import ByRule
from tracelift_ray.dataset.pipeline.stages import JudgeStage, PerturbStage, ReferenceStage
from tracelift_ray.dataset.pipeline.store import ItemStore
from tracelift_ray.dataset.settings import BuildGroupsConfig
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.tracking.alive import Heartbeat, heartbeat
from tracelift_ray.tracking.run_dir import write_whole
from tracelift_ray.types import Problem

#: Part of what a model's stored replies are found by: raise it where requests or their reading change.
REQUESTS_VERSION = 1
#: The modules that decide what is made by rule.
_RULES = ("math_rules/*.py", "code_rules/*.py", "pipeline/rule_stages.py", "pipeline/stages.py")


async def build(config: BuildGroupsConfig, say: Callable[[str], None]) -> Outcome:
    """Build what the configuration says; ``say`` takes lines for people, and is never left without one for long.

    Raises:
        DataError: the problems are unusable, or none makes a record.
        InfrastructureError: a model or the verifier failed; the same build goes on from where it was.
    """
    with heartbeat(say, f"reading {config.source}") as beat:
        return await _build(config, beat)


async def _build(config: BuildGroupsConfig, beat: Heartbeat) -> Outcome:
    loaded = load_problems(
        config.source, config.format, on_error=config.on_error, max_problem_chars=config.max_problem_chars,
        limit=config.limit,
    )  # fmt: skip
    beat.say(loaded.report.summary())
    check_same_problems(config, loaded.records)
    by_rule = config.perturb.kind == "rule" and config.traces.kind != "data"
    if by_rule and any(task_of(problem.task).runs_programs for problem in loaded.records):
        right = "must be llm: the rules change the programs that traces.kind=data narrates, and no other plans"
        raise ConfigError("perturb.kind", config.perturb.kind, right)
    async with AsyncExitStack() as opened:
        beat.doing("starting what the stages need")
        stages = await _stages(config, opened)
        drafts = await make_drafts(
            loaded.records, stages, concurrency=config.concurrency, progress_s=config.progress_s, beat=beat
        )
    beat.doing("cleaning the groups")
    outcome = outcome_of(drafts, config, loaded.report.format)
    if not outcome.records:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in outcome.left_out_by_reason())
        raise DataError(f"{config.source}: no problem makes a group ({reasons})")
    beat.doing(f"writing {config.out}")
    _write(outcome, config, loaded.report.format, len(loaded))
    return outcome


async def _stages(config: BuildGroupsConfig, opened: AsyncExitStack) -> Stages:
    """The stages that the configuration names, and their stores; models and sandboxes are started for them."""
    folder = Path(config.out) / "stages"

    def store(name: str, settings: dict[str, Any]) -> ItemStore:
        return opened.enter_context(closing(ItemStore(folder / f"{name}.jsonl", settings)))

    by_rule = {"rules": rules_fingerprint()}
    llm: dict[str, Any] = {}
    if config.asks_llm:
        from tracelift_ray.dataset.llm.model import AskedModel
        from tracelift_ray.dataset.llm.stages import ByLlm

        model = await opened.enter_async_context(AskedModel(config.llm, config.seed))
        asked = ByLlm(model, config.traces, config.perturb, config.seed)
        llm = {"llm": model.identity(), "requests": REQUESTS_VERSION, "seed": config.seed}
    ruled = opened.enter_context(closing(ByRule(config.sandbox, config.seed, config.perturb.negatives)))
    reference: ReferenceStage = ruled
    traces: dict[str, object] = {"kind": config.traces.kind, "seed": config.seed}
    if config.traces.kind == "sampled":
        from tracelift_ray.dataset.pipeline.sampled import SampledReferences

        sampler = await opened.enter_async_context(SampledReferences(config))
        reference, traces = sampler, traces | sampler.identity()
    elif config.traces.kind == "llm":
        counts = {"counts": [config.traces.samples, config.traces.keep]}
        reference, traces = asked, traces | llm | counts
    else:
        traces |= by_rule
    judges: dict[str, tuple[JudgeStage, ItemStore]] = {}
    if config.judge in ("llm", "both"):
        judges["llm"] = asked, store("judge_llm", llm)
    if config.judge in ("rule", "both"):
        judges["rule"] = ruled, store("judge_rule", by_rule)
    perturb: PerturbStage = asked if config.perturb.kind == "llm" else ruled
    flaws = asdict(config.perturb) | {"seed": config.seed} | (llm if config.perturb.kind == "llm" else by_rule)
    return Stages((reference, store("traces", traces)), (perturb, store("flaws", flaws)), judges)


def rules_fingerprint() -> str:
    """A hash of the rules' own source, so that nothing is taken over that other rules have made."""
    here = Path(__file__).parent
    files = sorted(path for pattern in _RULES for path in here.glob(pattern))
    return xxhash.xxh3_128_hexdigest(b"\0".join(path.read_bytes() for path in files))


def check_same_problems(config: BuildGroupsConfig, problems: Sequence[Problem]) -> None:
    """A data set that is there is replaced only by one of the same problems and more, or where ``overwrite`` says so.

    Raises:
        ConfigError: ``out`` holds groups of a problem that is not among ``problems``.
    """
    made = [path for name in ("train.jsonl", "heldout.jsonl") if (path := Path(config.out) / name).exists()]
    if config.overwrite or not made:
        return
    given = {problem.id for problem in problems}
    try:
        held = [group.problem.id for path in made for group in load_rubric_records(path)]
    except DataError:
        held = []
    lost = sum(id not in given for id in held)
    if lost or not held:
        what = f"{len(held):,} groups, {lost:,} of them of other problems than source" if held else "another data set"
        raise ConfigError("out", config.out, f"holds {what}; give another out, or overwrite=true to replace it")


def _write(outcome: Outcome, config: BuildGroupsConfig, source: str, problems: int) -> None:
    """The files of the data set, each whole or not at all, the card last."""
    out = Path(config.out)
    write_rubric_records(out / "train.jsonl", outcome.train)
    names = ["train.jsonl"]
    if outcome.heldout:
        write_rubric_records(out / "heldout.jsonl", outcome.heldout)
        names.append("heldout.jsonl")
    left_out = outcome.left_out.items()
    write_lines(out / "left_out.jsonl", ({"problem_id": id, "reason": reason} for id, reason in left_out))
    checksums = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
    card = data_card(outcome, config, source=source, problems=problems, checksums=checksums)
    write_whole(out / "README.md", card)
