"""A cluster that a file describes (``cluster.describe``), to plan for machines that are not at hand.

The file is YAML: a list of ``nodes``, each with what ``_Entry`` names. Anything else in it is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.rules import Count, Positive, PositiveCount
from tracelift_ray.planning.resources import ClusterResources, Node, resources_of

_KEY = "cluster.describe"
_EXAMPLE = "nodes: [{cpus: 128, gpus: 8, gpu_memory_gib: 80, memory_gib: 1000, count: 2}]"


@dataclass(frozen=True)
class _Entry:
    """Nodes that are alike."""

    cpus: Positive
    gpus: Count
    gpu_memory_gib: Positive | None  # of one GPU; None: not known
    memory_gib: Positive | None  # of the node; None: not known
    name: str
    count: PositiveCount

    def node(self, index: int) -> Node:
        return Node(f"{self.name}-{index}", self.cpus, self.gpus, self.gpu_memory_gib, self.memory_gib)


_DEFAULTS = {"gpu_memory_gib": None, "memory_gib": None, "name": "node", "count": 1}


@dataclass(frozen=True)
class _Description:
    """The whole file."""

    nodes: tuple[_Entry, ...]


def described_cluster(path: str) -> ClusterResources:
    """The cluster that the file ``path`` describes.

    Raises:
        ConfigError: the file cannot be read, or says something else; names what.
    """
    try:
        said = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(_KEY, path, f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(_KEY, path, f"must be YAML such as {_EXAMPLE} ({' '.join(str(error).split())})") from None
    if not isinstance(said, Mapping) or not isinstance(said.get("nodes"), list) or not said["nodes"]:
        raise ConfigError(_KEY, path, f"must be YAML such as {_EXAMPLE}")
    entries = [_DEFAULTS | entry if isinstance(entry, dict) else entry for entry in said["nodes"]]
    try:
        description = to_dataclass(_Description, {**said, "nodes": entries})
    except ConfigError as error:
        raise ConfigError(_KEY, path, str(error)) from None
    kinds = [entry for entry in description.nodes for _ in range(entry.count)]
    return resources_of([entry.node(index) for index, entry in enumerate(kinds)])
