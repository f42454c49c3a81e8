"""The table of values below a curve: what the pointer shows, for those who use none."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from tests.unit.tracking.test_page import HOSTILE, Parsed
from tests.unit.tracking.test_report import make_run
from tracelift_ray.tracking.history import Point, load_history
from tracelift_ray.tracking.page.curves import MOST_ROWS, chart_svg


def cells(svg: str) -> list[list[str]]:
    """The rows of the table of values."""
    rows = re.findall(r"<tr>(.*?)</tr>", svg)
    return [re.findall(r"<t[hd](?: scope=\"\w+\")?>([^<]*)</t[hd]>", row) for row in rows]


def test_the_values_of_a_chart_need_no_pointer(tmp_path: Path) -> None:
    runs = [load_history(make_run(tmp_path / str(seed), "tracelift", seed, end)) for seed, end in ((0, 0.75), (1, 0.9))]
    runs[1] = replace(runs[1], training=runs[1].training[:9])
    svg = chart_svg("both <i>", ["reward/mean", "evaluation/math/accuracy"], runs)
    assert svg.count("<details>") == 1 and '<summary aria-label="values: both &lt;i&gt;">values</summary>' in svg
    head, *rows = cells(svg)
    assert head == ["step", "1: reward/mean", "1: evaluation/math", "2: reward/mean", "2: evaluation/math"]
    assert [row[0] for row in rows] == [str(step) for step in range(11)]
    assert rows[0] == ["0", "", "0.5", "", "0.5"] and rows[10] == ["10", "1", "0.75", "", "0.9"]
    assert cells(
        chart_svg("one", ["evaluation/math/accuracy"], [replace(runs[0], evaluations=runs[0].evaluations[:1])])
    )[1:] == [["0", "0.5"]]


def test_of_many_steps_the_table_of_values_has_few_rows_evenly(tmp_path: Path) -> None:
    run = load_history(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    for count in (MOST_ROWS, MOST_ROWS + 1, 600):
        long = replace(run, training=tuple(Point(step, {"reward/mean": 0.5}) for step in range(1, count + 1)))
        steps = [int(row[0]) for row in cells(chart_svg("reward", ["reward/mean"], [long]))[1:]]
        gaps = {later - one for one, later in pairwise(steps)}
        assert len(steps) == MOST_ROWS == 30 and (steps[0], steps[-1]) == (1, count) and max(gaps) - min(gaps) <= 1


def test_no_name_of_a_task_is_markup_in_the_values(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("/", "|")
    run = load_history(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    names = {f"evaluation/{task}/accuracy": 0.5 for task in ("math", hostile)}
    parsed = Parsed(chart_svg("accuracy", ["evaluation/.*/accuracy"], [replace(run, evaluations=(Point(0, names),))]))
    assert not {tag for tag, _ in parsed.elements} & {"script", "img"}
    assert hostile in parsed.text
