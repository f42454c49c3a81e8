"""What a group build is told, and the rules its values keep; defaults and descriptions: conf/build_groups.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import ExecutorConfig, JudgeConfig, PlannerConfig, SandboxConfig, VerifierConfig
from tracelift_ray.data.formats import FORMATS


@dataclass(frozen=True)
class TracesConfig:
    """Where good traces come from."""

    kind: str  # data | sampled
    samples: int  # sampled: traces asked of the planner for a problem
    keep: int  # sampled: good traces of a problem, at most
    executions: int  # sampled: executor samples for a trace
    successes: int  # sampled: of which so many must succeed


@dataclass(frozen=True)
class PerturbConfig:
    """How flaws come into them."""

    kind: str  # rule | llm
    negatives: int  # of a problem, at most
    max_changed: float  # llm: share of a trace's words that an edit may touch
    tries: int  # llm: further requests for an edit that is refused


@dataclass(frozen=True)
class CleanConfig:
    """Which traces and groups stay."""

    min_chars: int
    max_chars: int
    max_similarity: float
    min_positive_total: float
    min_negatives: int


@dataclass(frozen=True)
class BuildGroupsConfig:
    """One build."""

    source: str
    format: str
    out: str
    on_error: str  # strict | skip
    limit: int  # problems; 0: all
    max_problem_chars: int
    seed: int
    heldout_fraction: float
    licence: str
    traces: TracesConfig
    perturb: PerturbConfig
    judge: str  # rule | llm | both
    clean: CleanConfig
    concurrency: int
    progress_s: float
    planner: PlannerConfig
    executor: ExecutorConfig
    verifier: VerifierConfig
    sandbox: SandboxConfig
    llm: JudgeConfig

    @property
    def asks_llm(self) -> bool:
        """Whether a stage needs the language model ``llm``."""
        return self.perturb.kind == "llm" or self.judge in ("llm", "both")


def check_build(config: BuildGroupsConfig) -> None:
    """Raises ConfigError for the first value out of range or without what it needs."""
    for key, value in (("source", config.source), ("out", config.out)):
        _require(bool(value), key, value, "must name a path")
    choices = (
        ("format", config.format, ("auto", *FORMATS)),
        ("on_error", config.on_error, ("strict", "skip")),
        ("traces.kind", config.traces.kind, ("data", "sampled")),
        ("perturb.kind", config.perturb.kind, ("rule", "llm")),
        ("judge", config.judge, ("rule", "llm", "both")),
    )
    for key, value, allowed in choices:
        _require(value in allowed, key, value, f"must be {' or '.join(allowed)}")
    for key, number, least in _numbers(config):
        _require(number >= least, key, number, f"must be at least {least}")
    shares = (
        ("perturb.max_changed", config.perturb.max_changed),
        ("clean.max_similarity", config.clean.max_similarity),
        ("clean.min_positive_total", config.clean.min_positive_total),
    )
    for key, share in shares:
        _require(0 <= share <= 1, key, share, "must be from 0 to 1")
    _require(0 <= config.heldout_fraction < 1, "heldout_fraction", config.heldout_fraction, "must be from 0 to below 1")
    _require(config.progress_s > 0, "progress_s", config.progress_s, "must be above 0")
    _check_pairs(config)
    _check_models(config)


def _numbers(config: BuildGroupsConfig) -> tuple[tuple[str, int, int], ...]:
    return (
        ("limit", config.limit, 0),
        ("max_problem_chars", config.max_problem_chars, 1),
        ("traces.samples", config.traces.samples, 1),
        ("traces.keep", config.traces.keep, 1),
        ("traces.executions", config.traces.executions, 1),
        ("traces.successes", config.traces.successes, 1),
        ("perturb.negatives", config.perturb.negatives, 1),
        ("perturb.tries", config.perturb.tries, 0),
        ("clean.min_chars", config.clean.min_chars, 1),
        ("clean.min_negatives", config.clean.min_negatives, 1),
        ("concurrency", config.concurrency, 1),
    )


def _check_pairs(config: BuildGroupsConfig) -> None:
    """Values that must fit each other."""
    traces, clean = config.traces, config.clean
    most = f"must be at most traces.executions={traces.executions}"
    _require(traces.successes <= traces.executions, "traces.successes", traces.successes, most)
    least = f"must be more than clean.min_chars={clean.min_chars}"
    _require(clean.max_chars > clean.min_chars, "clean.max_chars", clean.max_chars, least)
    made = f"must be at most perturb.negatives={config.perturb.negatives}, or no group is left"
    _require(clean.min_negatives <= config.perturb.negatives, "clean.min_negatives", clean.min_negatives, made)


def _check_models(config: BuildGroupsConfig) -> None:
    if config.traces.kind == "sampled":
        for name, model in (("planner", config.planner.model), ("executor", config.executor.model)):
            right = "must be a Hugging Face directory, because traces.kind=sampled"
            _require(bool(model), f"{name}.model", model, right)
        remote = config.executor.remote
        if config.executor.engine.kind == "openai":
            _check_server("executor", remote.base_url, remote.model)
    if not config.asks_llm:
        return
    llm = config.llm
    _require(llm.prompt in ("plain", "chat"), "llm.prompt", llm.prompt, "must be plain or chat")
    if llm.engine.kind == "openai":
        _check_server("llm", llm.remote.base_url, llm.remote.model)
    if llm.engine.kind != "openai" or llm.remote.api == "completions":
        _require(
            bool(llm.model), "llm.model", llm.model, "must be a Hugging Face directory, for its tokenizer at least"
        )


def _check_server(name: str, base_url: str, model: str) -> None:
    right = "must be the address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1"
    _require(base_url.startswith(("http://", "https://")), f"{name}.remote.base_url", base_url, right)
    _require(bool(model), f"{name}.remote.model", model, "must be what the server calls the model")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
