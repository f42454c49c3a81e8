"""Reports runs: before and after of one, or several compared: means over the seeds of runs that are alike else.

``python -m launch.report RUN_DIR [RUN_DIR ...] [--out DIR]``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tracelift_ray.errors import DataError
from tracelift_ray.tracking.report import write_report
from tracelift_ray.tracking.run_dir import RunDirectoryError


def main(arguments: list[str] | None = None) -> int:
    """Print and write a report; 2 with one line on standard error where a directory cannot be reported."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.report", description="Before and after of one run, or several compared."
    )
    parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="run_dir of a training run")
    parser.add_argument("--out", type=Path, help="where the picture and the Markdown table go")
    options = parser.parse_args(arguments)
    try:
        report = write_report(options.run_dirs, options.out)
    except (RunDirectoryError, DataError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    report.show(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
