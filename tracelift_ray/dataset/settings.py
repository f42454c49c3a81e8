"""The settings of a group build, and their check; defaults and descriptions: conf/build_groups.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import SERVER, ExecutorConfig, JudgeConfig, PlannerConfig, RemoteConfig
from tracelift_ray.config.rules import BelowOne, Coefficient, Count, OneOf, PathText, Positive, PositiveCount
from tracelift_ray.config.schema import OnError, SandboxConfig, VerifierConfig
from tracelift_ray.engines.kinds import check_extra, is_remote, needs_tokenizer


@dataclass(frozen=True)
class TracesConfig:
    """Where good traces come from."""

    kind: Literal["data", "llm", "sampled"]
    samples: PositiveCount  # llm, sampled: traces asked for, of a problem
    keep: PositiveCount  # llm, sampled: good traces of a problem, at most
    executions: PositiveCount  # sampled: executor samples for a trace
    successes: PositiveCount  # sampled: of which so many must succeed


@dataclass(frozen=True)
class PerturbConfig:
    """How flaws come into them."""

    kind: Literal["rule", "llm"]
    negatives: PositiveCount  # of a problem, at most
    max_changed: Coefficient  # llm: share of a trace's words that an edit may touch
    tries: Count  # llm: further requests for an edit that is refused


@dataclass(frozen=True)
class CleanConfig:
    """Which traces and records stay."""

    min_chars: PositiveCount
    max_chars: PositiveCount
    max_similarity: Coefficient
    min_positive_total: Coefficient
    min_negatives: PositiveCount


@dataclass(frozen=True)
class BuildGroupsConfig:
    """One build."""

    source: PathText
    format: Annotated[str, OneOf("tracelift_ray.data.formats:FORMATS", also=("auto",))]
    out: PathText
    overwrite: bool
    on_error: OnError
    limit: Count  # problems; 0: all
    max_problem_chars: PositiveCount
    seed: Count
    heldout_fraction: BelowOne
    licence: str
    traces: TracesConfig
    perturb: PerturbConfig
    judge: Literal["rule", "llm", "both"]
    clean: CleanConfig
    concurrency: PositiveCount
    progress_s: Positive
    planner: PlannerConfig
    executor: ExecutorConfig
    verifier: VerifierConfig
    sandbox: SandboxConfig
    llm: JudgeConfig

    @property
    def asks_llm(self) -> bool:
        """Whether a stage needs the language model ``llm``."""
        return "llm" in (self.traces.kind, self.perturb.kind) or self.judge in ("llm", "both")


def check_build(config: BuildGroupsConfig) -> None:
    """Raises ConfigError for the first value that lacks what it needs."""
    traces, clean = config.traces, config.clean
    most = f"must be at most traces.executions={traces.executions}"
    _require(traces.successes <= traces.executions, "traces.successes", traces.successes, most)
    least = f"must be more than clean.min_chars={clean.min_chars}"
    _require(clean.max_chars > clean.min_chars, "clean.max_chars", clean.max_chars, least)
    made = f"must be at most perturb.negatives={config.perturb.negatives}, or no group is left"
    _require(clean.min_negatives <= config.perturb.negatives, "clean.min_negatives", clean.min_negatives, made)
    if config.traces.kind == "sampled":
        for name, model in (("planner", config.planner.model), ("executor", config.executor.model)):
            right = "must be a Hugging Face directory, because traces.kind=sampled"
            _require(bool(model), f"{name}.model", model, right)
        if is_remote(config.executor.engine):
            _check_server("executor", config.executor.remote)
        check_extra(config.planner.engine, "planner")
        check_extra(config.executor.engine, "executor")
    llm = config.llm
    if config.asks_llm:
        check_extra(llm.engine, "llm")
    if config.asks_llm and is_remote(llm.engine):
        _check_server("llm", llm.remote)
    if config.asks_llm and needs_tokenizer(llm.engine, llm.remote):
        right = "must be a Hugging Face directory, for its tokenizer at least"
        _require(bool(llm.model), "llm.model", llm.model, right)


def _check_server(name: str, remote: RemoteConfig) -> None:
    _require(bool(remote.base_url), f"{name}.remote.base_url", remote.base_url, SERVER.right)
    _require(bool(remote.model), f"{name}.remote.model", remote.model, "must be what the server calls the model")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
