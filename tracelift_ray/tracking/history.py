"""A finished or running run, read back from its directory: configuration snapshot and ``metrics.jsonl``."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tracelift_ray.config.described import field_types
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.tracking.jsonl import read_records
from tracelift_ray.tracking.run_dir import RunDirectoryError

EVALUATION = "evaluation"
TRAINING = "training"

#: Settings, or groups of them, that two runs of one kind may have in another form. The seed is the run's own.
_NO_DIFFERENCE = frozenset({"name", "seed", "run_dir", "resume", "dry_run", "tracking", "cluster"})

#: The groups of metrics whose second part is a task.
_OF_TASKS = frozenset({"reward", "evaluation"})


@dataclass(frozen=True)
class Point:
    """The metrics of one step."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunHistory:
    """What a run measured.

    Attributes:
        arm: ``reward.arm``, with the clip where the configuration sets one, since it changes the code reward.
        settings: the configuration by dotted key, without what makes no difference to what is measured; a field that
            is a mapping, such as ``reward.tie_table``, is one value.
        training, evaluations: by step, ascending.
    """

    path: Path
    name: str
    arm: str
    seed: int
    settings: Mapping[str, object]
    training: tuple[Point, ...]
    evaluations: tuple[Point, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the run, in alphabetical order reversed so that math comes first."""
        parts = (name.split("/") for name in self.names)
        found = {each[1] for each in parts if len(each) == 3 and each[0] in _OF_TASKS}
        return tuple(sorted(found, reverse=True))

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Every metric that the run has measured."""
        return frozenset(name for point in self.training + self.evaluations for name in point.metrics)

    @functools.cached_property
    def versions(self) -> Mapping[int, int]:
        """The learner's policy version after each step, where it was measured."""
        return {step: int(version) for step, version in zip(*self.series("stream/version"), strict=True)}

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one metric; both empty where the run never had it."""
        points = self.evaluations if name.startswith("evaluation/") else self.training
        found = [(point.step, point.metrics[name]) for point in points if name in point.metrics]
        return [step for step, _ in found], [value for _, value in found]


@functools.cache
def _mappings() -> frozenset[str]:
    """The fields whose value is a mapping with keys of the user's own."""
    types = field_types(RunConfig).items()
    return frozenset(key for key, hint in types if typing.get_origin(hint) is dict)


def _flat(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value with its dotted key."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        if not isinstance(value, dict) or not value:
            yield key, value
        elif key in _mappings():
            yield key, dict(sorted(value.items(), key=str))
        else:
            yield from _flat(value, f"{key}.")


def load_history(path: str | Path) -> RunHistory:
    """Read a run directory.

    Raises:
        RunDirectoryError: the directory holds no run, or its configuration cannot be read.
        DataError: ``metrics.jsonl`` is broken.
    """
    folder = Path(path).expanduser().absolute()
    metrics, snapshot = folder / "metrics.jsonl", folder / "config.yaml"
    missing = next((file.name for file in (metrics, snapshot) if not file.is_file()), None)
    if missing is not None:
        raise RunDirectoryError(
            f"{folder} is no run directory: it has no {missing}; give the run_dir of a training run"
        )
    try:
        config = yaml.safe_load(snapshot.read_text("utf-8"))
        reward, seed, name = config["reward"], int(config["seed"]), str(config["name"])
        arm, clip = str(reward["arm"]), reward.get("clip_max")
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunDirectoryError(f"{snapshot} is no configuration of a training run ({type(error).__name__})") from error
    points: dict[str, dict[int, dict[str, float]]] = {TRAINING: {}, EVALUATION: {}}
    for _, record in read_records(metrics):
        values = {key: value for key, value in record.items() if "/" in key and isinstance(value, (int, float))}
        points.setdefault(str(record.get("kind")), {}).setdefault(record["step"], {}).update(values)
    return RunHistory(
        path=folder,
        name=name,
        arm=arm if clip is None or arm == "exec_only" else f"{arm}, clip_max={clip:g}",
        seed=seed,
        settings={key: value for key, value in _flat(config) if key.partition(".")[0] not in _NO_DIFFERENCE},
        training=tuple(Point(step, values) for step, values in sorted(points[TRAINING].items())),
        evaluations=tuple(Point(step, values) for step, values in sorted(points[EVALUATION].items())),
    )
