"""Reports whether a reasoning RM is honest: ``python -m launch.rm_report model=DIR groups=HELDOUT.jsonl run=RUN_DIR``.

On held-out groups: the RM beside a trace-only RM, a rule by length alone, and a language model's likelihood of the
trace. On a run: the RM's score beside success, uplift and an independent judge, window by window. Every field is
described in ``conf/rm_report.yaml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.paths import check_directory, check_file
from tracelift_ray.reasoning_rm.report.settings import RmReportConfig, check_report

if TYPE_CHECKING:
    from rich.console import Console

    from tracelift_ray.reasoning_rm.report.tables import TextTable


@entry_point("rm_report")
def main(cfg: DictConfig) -> None:
    """The command: configuration first, so that a wrong value answers before anything heavy is imported."""
    config = to_dataclass(RmReportConfig, cfg)
    check_report(config)
    check_directory("model", config.model, "a reward model made by `python -m launch.train_rm`")
    check_file("groups", config.groups)
    check_directory("run", config.run, "a training run")
    check_directory("trace_only", config.trace_only, "a reward model trained with show_problem=false")
    check_directory("backbone", config.backbone)

    from rich.console import Console
    from transformers.utils import logging

    from tracelift_ray.reasoning_rm.report.report import make_report, write_report
    from tracelift_ray.reasoning_rm.report.tables import as_markdown, report_tables

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it lists the language-model head as unexpected, which a backbone may well have
    console = Console()
    report = make_report(config, say=lambda line: print(line, flush=True))
    tables = report_tables(report)
    for table in tables:
        _show(console, table)
    where = write_report(report, config, as_markdown(config.model, tables))
    console.print(f"report.md, report.json and report.png are in {where}", soft_wrap=True)


def _show(console: Console, text: TextTable) -> None:
    from rich.table import Table

    table = Table(title=text.title, title_justify="left")
    for number, column in enumerate(text.columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in text.rows:
        table.add_row(*row)
    console.print(table)
    if text.note:
        console.print(text.note, soft_wrap=True)


if __name__ == "__main__":
    main()
