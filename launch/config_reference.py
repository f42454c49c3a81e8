"""Writes the reference of all settings: ``python -m launch.config_reference``, or ``make reference``.

Types, choices and ranges come from the dataclasses, defaults and descriptions from ``conf/``. It writes
``docs/configuration_reference.md``, the table of groups in ``README.md`` and the Grafana dashboard of the table of
questions, ``docs/grafana.json``; a test compares all with the sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from launch import conf_files
from launch.capacity import CapacityConfig
from launch.chaos import ChaosConfig
from launch.chat import ChatConfig
from launch.conf_files import CONFIG_DIR
from launch.doctor import DoctorConfig
from launch.sandbox import SandboxCommandConfig
from launch.serve_rm import ServeRmConfig
from launch.simulate import SimulateConfig
from launch.submit import SubmitConfig
from tracelift_ray.config.described import DescribedFile, allowed, field_types
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.dataset.settings import BuildGroupsConfig
from tracelift_ray.evaluation.settings import EvaluateConfig
from tracelift_ray.reasoning_rm.report.settings import RmReportConfig
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.tracking.prometheus import dashboard
from tracelift_ray.training.merge_settings import MergeConfig
from tracelift_ray.training.supervised_settings import WarmStartConfig

ROOT = CONFIG_DIR.parent
REFERENCE, README = ROOT / "docs" / "configuration_reference.md", ROOT / "README.md"
GRAFANA = ROOT / "docs" / "grafana.json"
BEGIN, END = "<!-- begin: table of groups, written by make reference -->", "<!-- end: table of groups -->"
#: The other commands: module in ``launch/`` and file in ``conf/``, and their settings.
COMMANDS: dict[str, Any] = {
    "submit": SubmitConfig,
    "evaluate": EvaluateConfig,
    "chat": ChatConfig,
    "warm_start": WarmStartConfig,
    "merge": MergeConfig,
    "train_rm": TrainRmConfig,
    "build_groups": BuildGroupsConfig,
    "serve_rm": ServeRmConfig,
    "rm_report": RmReportConfig,
    "doctor": DoctorConfig,
    "sandbox": SandboxCommandConfig,
    "simulate": SimulateConfig,
    "capacity": CapacityConfig,
    "chaos": ChaosConfig,
}
_INTRODUCTION = """# Configuration reference

Written by `make reference` from the dataclasses and `conf/`; a test compares. How configurations are composed:
[configuration](configuration.md). A field whose default is *needed* has none.
"""


def reference() -> str:
    """The text of ``docs/configuration_reference.md``."""
    run = DescribedFile.read(CONFIG_DIR / "config.yaml")
    parts = [_INTRODUCTION, "## Training: `python -m launch.train`\n", _table(run, RunConfig)]
    for group, cls in run_groups().items():
        parts.append(f"### `{group}`\n\n{_sentence(cls)}\n")
        files = [DescribedFile.read(CONFIG_DIR / group / f"{choice}.yaml") for choice in choices(group)]
        parts.append("\n".join(f"- `{group}={file.path.stem}`: {file.title}" for file in files) + "\n")
        parts.append(_table(files[0], cls, *files[1:]))
    parts.append("### `experiment`\n\nA whole run: choices of groups, and fields.\n")
    experiments = [DescribedFile.read(CONFIG_DIR / "experiment" / f"{name}.yaml") for name in choices("experiment")]
    parts.append("\n".join(f"- `experiment={file.path.stem}`: {file.title}" for file in experiments) + "\n")
    for command, cls in COMMANDS.items():
        file = DescribedFile.read(CONFIG_DIR / f"{command}.yaml")
        groups = [name for name in file.groups if (CONFIG_DIR / name).is_dir()]
        also = f" The groups {' '.join(f'`{name}`' for name in groups)} are as above." if groups else ""
        parts.append(f"## `python -m launch.{command}`\n\n{_sentence(cls)}{also}\n")
        parts.append(_table(file, cls))
    return "\n".join(parts)


def groups_table() -> str:
    """The table of groups for the README."""
    rows = [
        f"| `{group}` | {' '.join(f'`{choice}`' for choice in choices(group))} | {_sentence(cls)} |"
        for group, cls in run_groups().items()
    ]
    experiments = " ".join(f"`{name}`" for name in choices("experiment"))
    rows.append(f"| `experiment` | {experiments} | A whole run: choices of groups, and fields. |")
    return "\n".join(["| group | choices, the default first | what it sets |", "|---|---|---|", *rows])


def readme(text: str) -> str:
    """The README with a new table of groups between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{groups_table()}\n{END}{after}"


def run_groups() -> dict[str, Any]:
    """The groups of a run, in the order of the schema, with their dataclasses."""
    return {name: hint for name, hint in get_type_hints(RunConfig).items() if is_dataclass(hint)}


def choices(group: str) -> tuple[str, ...]:
    """The choices of a group: that of ``conf/config.yaml`` first, the others by name."""
    return conf_files.choices(group, DescribedFile.read(CONFIG_DIR / "config.yaml").groups.get(group))


def _table(file: DescribedFile, cls: Any, *others: DescribedFile) -> str:
    """The fields of a file, and those that only other choices of its group have."""
    rows: dict[str, str] = {}
    types = field_types(cls)
    for each in (file, *others):
        for key, default, comment in each.fields():
            if key not in rows:
                shown = "*needed*" if default == "???" else f"`{default}`"
                rows[key] = f"| `{key}` | {allowed(types.get(key, str))} | {shown} | {comment} |"
    return "\n".join(["| field | value | default | meaning |", "|---|---|---|---|", *rows.values(), ""])


def _sentence(cls: Any) -> str:
    """The first paragraph of a docstring, with Markdown's code marks."""
    first: str = (cls.__doc__ or "").partition("\n\n")[0]
    return re.sub(r"``([^`]+)``", r"`\1`", " ".join(first.split()))


def outputs() -> Iterator[tuple[Path, str]]:
    """Each file that this command writes, and its text."""
    yield REFERENCE, reference()
    yield README, readme(README.read_text("utf-8"))
    yield GRAFANA, dashboard()


if __name__ == "__main__":
    for path, text in outputs():
        path.write_text(text, "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
