"""Reports runs: before and after of one, or several compared: means over the seeds of runs that are alike else.

``python -m launch.report RUN_DIR [RUN_DIR ...] [--out DIR]``
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from launch.commands import COMMANDS
from launch.entry import WRONG_INPUT, guard
from launch.help import TRACEBACK, examples, exit_codes
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.tracking.alive import heartbeat
from tracelift_ray.tracking.report import write_report


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"error: {message}; `{self.prog} --help` shows what there is\n")


def main(arguments: list[str] | None = None) -> int:
    """Print and write a report; 2 with one line on standard error where a directory cannot be reported."""
    command = COMMANDS["report"]
    parser = _Parser(
        prog="tracelift report",
        description=f"{command.summary}\n\n{examples(command)}",
        epilog=exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="run_dir of a training run")
    parser.add_argument("--out", type=Path, help="where the picture and the Markdown table go")
    parser.add_argument(TRACEBACK, action="store_true", help="show where an error comes from, not its line alone")
    options = parser.parse_args(arguments)
    return guard(lambda: _report(options.run_dirs, options.out), options.traceback)


def _report(run_dirs: list[str], out: Path | None) -> None:
    try:
        with heartbeat(partial(print, flush=True), "reading runs") as beat:
            report = write_report(run_dirs, out, beat.doing)
    except OSError as error:
        raise ConfigError("--out", str(error.filename), f"cannot be written ({error.strerror or error})") from error
    report.show(Console())


if __name__ == "__main__":
    sys.exit(main())
