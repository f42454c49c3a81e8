"""Where the configuration of a command is composed from, so that the command line has the last word.

Hydra merges an experiment's fields over every group, also over one that the command line chooses. Here a group that the
command line chooses replaces all that the experiment sets in it: Hydra composes from a copy of ``conf/`` whose
experiments lack that section. So ``--cfg``, ``--help`` and multiruns show what the command will use.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from launch.conf_files import CONFIG_DIR

_EXPERIMENT = "experiment"


def chosen_groups(arguments: Sequence[str]) -> frozenset[str]:
    """The configuration groups for which a command line names a choice (``reward=exec_only``)."""
    keys = {argument.partition("=")[0] for argument in arguments if "=" in argument}
    return frozenset(key for key in keys if re.fullmatch(r"\w+", key) and (CONFIG_DIR / key).is_dir())


@contextmanager
def config_directory(arguments: Sequence[str]) -> Iterator[Path]:
    """The directory to compose from, for a command line without the name of the program."""
    chosen = chosen_groups(arguments)
    if _EXPERIMENT not in chosen or len(chosen) == 1:
        yield CONFIG_DIR
        return
    with tempfile.TemporaryDirectory(prefix="tracelift-conf-") as name:
        directory = Path(name)
        for path in CONFIG_DIR.iterdir():
            if path.name != _EXPERIMENT:
                (directory / path.name).symlink_to(path)
        (directory / _EXPERIMENT).mkdir()
        for path in (CONFIG_DIR / _EXPERIMENT).glob("*.yaml"):
            (directory / _EXPERIMENT / path.name).write_text(_without(path, chosen), "utf-8")
        yield directory


def composed(config_name: str, arguments: Sequence[str]) -> DictConfig:
    """What a command with these overrides reads, interpolations unresolved. Raises what Hydra raises."""
    with config_directory(arguments) as directory, initialize_config_dir(str(directory), version_base="1.3"):
        return compose(config_name, list(arguments))


def _without(experiment: Path, groups: frozenset[str]) -> str:
    """The text of an experiment without its sections of these groups; its package header stays."""
    lines = experiment.read_text("utf-8").splitlines()
    header = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    config = OmegaConf.load(experiment)
    assert isinstance(config, DictConfig)
    left = OmegaConf.masked_copy(config, [str(key) for key in config if key not in groups])
    return f"{header}\n{OmegaConf.to_yaml(left)}"
