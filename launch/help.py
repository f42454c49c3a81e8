"""What ``--help`` of a command prints: examples, groups with their choices, the fields changed most often, exit codes.

All of it comes from the table of commands and from ``conf/``, so it says what the command reads.
"""

from __future__ import annotations

import shutil
import textwrap

from launch.commands import COMMANDS, Command
from launch.conf_files import offer

#: What the exit codes of every command mean.
EXIT_CODES = {
    0: "done",
    1: "a component failed, a check says no, or a defect (which shows its traceback)",
    2: "something to mend in the command line, the configuration, the data or a path",
    130: "ended with Ctrl-C or SIGTERM, in order",
}
TRACEBACK = "--traceback"
_FLAGS = {
    "--cfg job": "print the configuration in force, and do nothing",
    "-m": "run all combinations of values that are separated by commas",
    TRACEBACK: "show where an error comes from, not its line alone",
    "--help": "this text",
}
_MOST_COLUMNS = 120


def command_list() -> str:
    """What ``tracelift`` prints by itself."""
    rows = _rows({name: command.summary for name, command in COMMANDS.items()})
    return "\n".join(
        [
            "usage: tracelift COMMAND [GROUP=CHOICE …] [KEY=VALUE …]",
            "",
            *rows,
            "",
            "tracelift COMMAND --help     an example, the groups, and the fields changed most often",
            'eval "$(tracelift --completion bash)"     completion of commands, groups, choices and fields',
            "",
            *_exit_codes(),
        ]
    )


def exit_codes() -> str:
    """The exit codes by themselves, for the help of commands that have their own parser."""
    return "\n".join(_exit_codes())


def examples(command: Command) -> str:
    """The examples of a command, a line each."""
    return "\n".join(f"  tracelift {command.name} {each}".rstrip() for each in command.examples)


def command_help(command: Command) -> str:
    """What ``--help`` of a command with a configuration prints."""
    assert command.config is not None
    offered = offer(command.config)
    parts = [f"tracelift {command.name}: {command.summary}", "", examples(command), ""]
    if offered.groups:
        none = ", but experiment has none" if "experiment" in offered.groups else ""
        parts += [f"Groups (GROUP=CHOICE; the choice by default first{none})"]
        parts += [*_rows({group: " ".join(names) for group, names in offered.groups.items()}), ""]
    parts += ["Fields changed most often (KEY=VALUE; ??? has no default and must be given)"]
    shown = {f"{key}={_quiet(offered.fields[key][0])}": offered.fields[key][1] for key in command.changed}
    parts += [*_rows(shown), ""]
    parts += ["Flags", *_rows(_FLAGS), "", *_exit_codes(), ""]
    parts += [f"All fields: docs/configuration_reference.md; more: docs/{command.page}.md, docs/commands.md"]
    return "\n".join(parts)


def _quiet(default: str) -> str:
    """A default in as few characters as tell it; a reference to other settings is long and tells little."""
    return default if len(default) <= 16 else "…"


def _exit_codes() -> list[str]:
    return ["Exit codes", *_rows({str(code): words for code, words in EXIT_CODES.items()})]


def _rows(pairs: dict[str, str]) -> list[str]:
    """Two columns; the second is wrapped below itself."""
    width = min(shutil.get_terminal_size((_MOST_COLUMNS, 1)).columns, _MOST_COLUMNS)
    left = min(max(map(len, pairs)), 40) + 2
    rows = []
    for name, words in pairs.items():
        first, *rest = textwrap.wrap(words, max(width - left - 2, 20)) or [""]
        rows.append(f"  {name:<{left}}{first}".rstrip())
        rows += [" " * (left + 2) + line for line in rest]
    return rows
