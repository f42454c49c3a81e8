"""The W&B workspace holds the table of questions, as W&B's own library writes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from launch.wandb_workspace import OUT, main
from tracelift_ray.tracking.questions import QUESTIONS
from tracelift_ray.tracking.wandb_workspace import spec, workspace


def sections() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(OUT.read_text("utf-8"))["section"]["panelBankConfig"]["sections"]
    return found


def test_the_file_has_a_section_for_each_question_and_a_panel_for_each_chart_histogram_and_table() -> None:
    shown = {section["name"]: [panel["config"] for panel in section["panels"]] for section in sections()}
    assert list(shown) == [f"{number} {question.title}" for number, question in enumerate(QUESTIONS, 1)]
    for question, panels in zip(QUESTIONS, shown.values(), strict=True):
        count = len(question.charts) + len(question.histograms)
        drawn, tables = panels[:count], panels[count:]
        assert [panel["chartTitle"] for panel in drawn] == [*question.charts, *question.histograms]
        for panel, metrics in zip(drawn, question.charts.values(), strict=False):
            found = panel.get("metricRegex")
            for metric in metrics:
                one = metric.replace(".*", "planner/0")
                assert re.fullmatch(found, one) if found else metric in panel["metrics"]
        assert [panel["metrics"] for panel in drawn[len(question.charts) :]] == [
            [metric] for metric in question.histograms.values()
        ]
        picks = [panel["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] for panel in tables]
        assert picks == list(question.tables)
    identities = [panel["__id__"] for section in sections() for panel in section["panels"]]
    assert len(set(identities)) == len(identities)


def test_the_table_of_traces_and_the_histograms_of_reward_uplift_and_staleness_have_a_place() -> None:
    assert [name for question in QUESTIONS for name in question.tables] == ["traces"]
    drawn = {metric for question in QUESTIONS for metric in question.histograms.values()}
    assert drawn == {"distribution/reward", "distribution/uplift", "distribution/staleness"}


def test_the_file_is_what_the_library_writes() -> None:
    pytest.importorskip("wandb_workspaces", reason="comes with `make docs`")
    assert OUT.read_text("utf-8") == spec(workspace("ENTITY", "PROJECT")), "run `python -m launch.wandb_workspace`"


@pytest.mark.parametrize("there", [True, False])
def test_what_cannot_be_saved_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    before = OUT.read_bytes()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: Path() if there else None)
    monkeypatch.setattr("sys.argv", ["wandb_workspace", "--save", "mine"])
    assert main() == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: --save=mine: must be" if there else "error: wandb-workspaces is not")
        and said.count("\n") == 1
    )
    assert OUT.read_bytes() == before
