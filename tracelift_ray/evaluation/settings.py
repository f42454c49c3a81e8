"""The settings of ``launch.evaluate`` beside a run's; defaults and descriptions: conf/evaluate.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import PromptFile
from tracelift_ray.config.paths import SETTINGS, check_directory
from tracelift_ray.config.rules import AtLeast, Count, Fraction, OneOf, PositiveCount
from tracelift_ray.data.readings import check_source_file


@dataclass(frozen=True)
class OtherExecutor:
    """A second executor for the same traces; what is None is as the first one's."""

    model: str | None
    prompt: PromptFile | None
    engine: Annotated[str, OneOf("tracelift_ray.engines.kinds:local_kinds")] | None


@dataclass(frozen=True)
class EvaluateConfig:
    """One evaluation."""

    checkpoint: str
    benchmarks: tuple[str, ...]
    limit: Count  # problems of each benchmark; 0: all
    traces: Literal["greedy", "sampled"]
    pass_at: tuple[PositiveCount, ...]
    out: str | None
    against: str | None
    other_executor: OtherExecutor
    confidence: Fraction
    resamples: Annotated[int, AtLeast(100)]


#: Names of files that say nothing of what is in them.
_SPLITS = ("train", "test", "dev", "valid", "validation", "heldout")
#: The keys of conf/evaluate.yaml that are no part of a run's configuration.
KEYS = tuple(each.name for each in fields(EvaluateConfig))


def check_attempts(config: EvaluateConfig, attempts: int) -> None:
    """Raises ConfigError where ``pass_at`` needs more attempts than are made (``evaluation.num_samples``)."""
    for k in config.pass_at:
        right = f"must be at most evaluation.num_samples={attempts}: pass@{k} needs {k} attempts at every problem"
        _require(k <= attempts, "pass_at", k, right)


def check_files(config: EvaluateConfig) -> None:
    """Raises ConfigError for the first value that names nothing that exists, or that lacks what it goes with."""
    for path in config.benchmarks:
        check_source_file("benchmarks", path)
    names = [benchmark_name(path) for path in config.benchmarks]
    repeated = next((name for name in names if names.count(name) > 1), None)
    _require(repeated is None, "benchmarks", list(config.benchmarks), f"two files are called {repeated}; rename one")
    check_directory("against", config.against, "a finished evaluation")
    other = config.other_executor
    check_directory("other_executor.model", other.model)
    for key, value in (("prompt", other.prompt), ("engine", other.engine)):
        alone = other.model is None and value is not None
        _require(not alone, f"other_executor.{key}", value, "has no effect without other_executor.model")


def benchmark_name(path: str) -> str:
    """What the results of a file are called: its name without the ending, behind its folder's where that says little
    (``gsm8k/test``)."""
    file = Path(path.partition(SETTINGS)[0]).absolute()
    return f"{file.parent.name}/{file.stem}" if file.stem in _SPLITS else file.stem


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
