"""The table of scorers: what each kind needs and can do, and the one factory. Light to import.

A new kind of scorer is a module that implements ``TraceScorer``, and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import EngineConfig, JudgeConfig, ReasoningRmConfig, ScoringServiceConfig
from tracelift_ray.engines.kinds import engine_kind, is_remote, needs_tokenizer, served_model
from tracelift_ray.reasoning_rm.scoring.rules import check_judge, check_service
from tracelift_ray.types import Problem, RubricScore


class TraceScorer(Protocol):
    """Scores traces against the rubric. Methods are called from one event loop; ``score`` runs concurrently."""

    async def start(self) -> None:
        """Return when scores can be asked for. Raises ``InfrastructureError``, ``DataError`` or ``ValueError``."""
        ...

    async def score(self, problem: Problem, reasoning: str, max_length: int | None = None) -> RubricScore:
        """The rubric score of one trace; a model of ours reads at most ``max_length`` tokens where that is less than
        its own limit. Raises ``InfrastructureError`` where there is no score; never makes one up."""
        ...

    async def sleep(self) -> None:
        """Free the memory of a GPU, where it has some; scores are asked for again only once it is awake."""
        ...

    async def wake(self) -> None:
        """Take the memory again. Raises ``InfrastructureError`` where it is not free."""
        ...

    def figures(self) -> dict[str, float]:
        """What it says of its own work since it was asked last, by metric name."""
        ...

    async def close(self) -> None:
        """End every task, connection and process."""
        ...


@dataclass(frozen=True)
class ModelDirectory:
    """A directory that a scorer reads.

    Attributes:
        key: of its setting, below the scorer's own.
        what: what has to be in it, for messages.
        prompt: the prompt file that its tokenizer has to fit; empty: none.
        engine: what serves the language model in it, or only reads its tokenizer; None: it is a reward model.
    """

    key: str
    path: str
    what: str
    prompt: str = ""
    engine: EngineConfig | None = None


@dataclass(frozen=True)
class ScorerKind:
    """What a kind of scorer needs and can do.

    Attributes:
        build: the scorer, not started yet. Imports what it needs when it is called. Takes also the seed of a sampling
            scorer, and whether it will sleep.
        name: what scores, as its owner calls it: a directory, a model on a server, an address.
        label: the same in a line for people.
        directory: the directory that it reads; None: it reads none.
        part: its own group of settings; empty: it has none.
        prompt: the prompt file with which it asks a language model (``part``'s ``prompt``); empty: it asks none.
        check: raises ConfigError for values of that group that do not fit the others.
        startup_s: seconds that it may take to start, beyond loading a reward model.
        servable: whether ``launch.serve_rm`` can serve its scores.
        sleeps: whether it can free its memory of a GPU and take it again.
    """

    build: Callable[[ReasoningRmConfig, int, bool], TraceScorer]
    name: Callable[[ReasoningRmConfig], str]
    label: Callable[[ReasoningRmConfig], str]
    directory: Callable[[ReasoningRmConfig], ModelDirectory | None]
    part: str = ""
    prompt: Callable[[ReasoningRmConfig], str] = lambda config: ""
    check: Callable[[ReasoningRmConfig, str], None] = lambda config, key: None
    startup_s: Callable[[ReasoningRmConfig], float] = lambda config: 0.0
    servable: bool = True
    sleeps: Callable[[ReasoningRmConfig], bool] = lambda config: False


def scorer_kind(config: ReasoningRmConfig) -> ScorerKind:
    """What the configured scorer can do. Raises ValueError for a kind that does not exist."""
    kind = SCORERS.get(config.backend)
    if kind is None:
        raise ValueError(f"unknown scorer {config.backend!r}: use one of {', '.join(SCORERS)}")
    return kind


def build_scorer(config: ReasoningRmConfig, seed: int = 0, sleeps: bool = False) -> TraceScorer:
    """The configured scorer, not started yet; ``sleeps``: whether ``sleep`` will be called.

    Raises:
        ValueError: an unknown kind, or its part of the configuration is missing.
    """
    return scorer_kind(config).build(config, seed, sleeps)


def check_reasoning_rm(config: ReasoningRmConfig, key: str = "reasoning_rm") -> None:
    """Check the part that the configured scorer uses; opens no file.

    Args:
        key: the dotted key of ``config``, for messages.

    Raises:
        ConfigError: the first rule that does not hold.
    """
    kind = scorer_kind(config)
    if kind.part and getattr(config, kind.part) is None:
        right = f"is needed where {key}.backend={config.backend}; use reasoning_rm={config.backend}"
        raise ConfigError(f"{key}.{kind.part}", None, right)
    kind.check(config, key)


def _build_model(config: ReasoningRmConfig, seed: int, sleeps: bool) -> TraceScorer:
    from tracelift_ray.reasoning_rm.scoring.local import ModelScorer

    return ModelScorer(config)


def _build_service(config: ReasoningRmConfig, seed: int, sleeps: bool) -> TraceScorer:
    from tracelift_ray.reasoning_rm.scoring.remote import RemoteScorer

    return RemoteScorer(_service(config), config.max_length)


def _build_judge(config: ReasoningRmConfig, seed: int, sleeps: bool) -> TraceScorer:
    from tracelift_ray.reasoning_rm.scoring.judge import JudgeScorer

    return JudgeScorer(_judge(config), seed, sleeps)


def _service(config: ReasoningRmConfig) -> ScoringServiceConfig:
    if config.remote is None:
        raise ValueError("a remote scorer needs the settings of its service (reasoning_rm.remote)")
    return config.remote


def _judge(config: ReasoningRmConfig) -> JudgeConfig:
    if config.judge is None:
        raise ValueError("a judge needs its own settings (reasoning_rm.judge)")
    return config.judge


def _reward_model(config: ReasoningRmConfig) -> ModelDirectory:
    return ModelDirectory("model", config.model, "a reward model made by `python -m launch.train_rm`")


def _judge_label(config: ReasoningRmConfig) -> str:
    judge = _judge(config)
    return f"judge {served_model(judge)}" + (f" at {judge.remote.base_url}" if is_remote(judge.engine) else "")


def _judge_model(config: ReasoningRmConfig) -> ModelDirectory | None:
    judge = _judge(config)
    if not needs_tokenizer(judge.engine, judge.remote):
        return None
    what = "a language model, a Hugging Face checkpoint"
    return ModelDirectory("judge.model", judge.model, what, judge.prompt, judge.engine)


SCORERS: dict[str, ScorerKind] = {
    "model": ScorerKind(
        build=_build_model,
        name=lambda config: config.model,
        label=lambda config: config.model,
        directory=_reward_model,
        sleeps=lambda config: True,
    ),
    "remote": ScorerKind(
        build=_build_service,
        name=lambda config: _service(config).url,
        label=lambda config: f"service at {_service(config).url}",
        directory=lambda config: None,
        part="remote",
        check=lambda config, key: check_service(_service(config), config.pool, key),
        servable=False,
    ),
    "judge": ScorerKind(
        build=_build_judge,
        name=lambda config: served_model(_judge(config)),
        label=_judge_label,
        directory=_judge_model,
        part="judge",
        prompt=lambda config: _judge(config).prompt,
        check=lambda config, key: check_judge(_judge(config), config.pool, key),
        startup_s=lambda config: _judge(config).engine.startup_s,
        sleeps=lambda config: engine_kind(_judge(config).engine).sleeps,
    ),
}
