"""The W&B workspace of the five questions: a section for each, a panel for each chart, histogram and table.

It is made of the table of questions by W&B's own library, ``wandb-workspaces`` (extra ``docs``), which is imported
where it is used. Making it asks nothing of the network; saving it does.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tracelift_ray.tracking.questions import QUESTIONS, Question

NAME = "tracelift-ray"


def workspace(entity: str, project: str) -> Any:
    """The workspace (``wandb_workspaces.workspaces.Workspace``), not saved yet."""
    import wandb_workspaces.workspaces as workspaces

    sections = [_section(number, question) for number, question in enumerate(QUESTIONS, start=1)]
    return workspaces.Workspace(entity=entity, project=project, name=NAME, sections=sections)


def spec(made: Any) -> str:
    """What W&B keeps of a workspace, as JSON; the same for the same table and version of the library."""
    text: str = made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=1)
    return text + "\n"


def _section(number: int, question: Question) -> Any:
    import wandb_workspaces.workspaces as workspaces

    panels = [_panel(chart, metrics) for chart, metrics in question.charts.items()]
    panels += [_panel(title, (metric,)) for title, metric in question.histograms.items()]
    panels += [_table(name) for name in question.tables]
    return workspaces.Section(name=f"{number} {question.title}", panels=panels, is_open=True)


def _panel(chart: str, metrics: tuple[str, ...]) -> Any:
    """A chart's curves; where ``.*`` stands for tasks or members, those that a run has.

    A histogram alone in such a panel is drawn as colours over steps.
    """
    import wandb_workspaces.reports.v2 as reports

    if any(".*" in metric for metric in metrics):
        panel = reports.LinePlot(title=chart, metric_regex="|".join(f"^{metric}$" for metric in metrics))
    else:
        panel = reports.LinePlot(title=chart, y=list(metrics))
    return _named(panel, chart)


def _table(name: str) -> Any:
    """The newest table of each run that is shown."""
    import wandb_workspaces.reports.v2 as reports

    return _named(reports.WeavePanelSummaryTable(table_name=name), name)


def _named(panel: Any, name: str) -> Any:
    """The panel by an identity of its own; the library's would be another each time."""
    panel._id = hashlib.sha256(name.encode()).hexdigest()[:11]
    return panel
