"""The reader of traces in headless Chromium: filters, orders, one problem over training, two runs, a full page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracking.browser import opened_page, shown, shown_steps, wait_for_count
from tests.unit.tracking.long_runs import GROUPS, OUTCOMES
from tests.unit.tracking.test_page import BASELINE
from tests.unit.tracking.test_report import make_run
from tests.unit.tracking.worlds import group, trajectory
from tracelift_ray.tracking.page.traces import MOST_TRACES
from tracelift_ray.tracking.records import trajectory_record
from tracelift_ray.tracking.report import write_report
from tracelift_ray.types import Baseline, Outcome, RubricScore, Trajectory


@dataclass(frozen=True)
class Shape:
    """A group of two traces as the tests need it; what its traces share is given once."""

    problem: str
    rewards: tuple[float | None, float | None]
    uplift: float | None = None
    outcomes: tuple[Outcome, ...] = ("wrong_answer",)
    fresh: Outcome | None = None
    coherence: float | None = None
    stale: int = 0
    leaked: bool = False
    task: str = "math"
    baseline: Baseline | None = BASELINE

    def trajectories(self, step: int) -> Iterator[Trajectory]:
        for index, reward in enumerate(self.rewards):
            one = trajectory(
                index,
                outcomes=self.outcomes if index == 0 else self.outcomes[:1],
                fresh=self.fresh,
                uplift=self.uplift,
                reward=reward,
                masked="executor: died" if reward is None else None,
                leaked=self.leaked,
                version=step - 1 - self.stale,
            )
            labels = (4.0, 4.0, self.coherence or 0.0, 4.0, 4.0)
            yield one if self.coherence is None else replace(one, rubric=RubricScore.of(labels, 0.5))


#: By step, from 1.
SHAPES = (
    Shape("sum", (0.9, 0.5), 0.5, ("passed", "passed"), coherence=4.0),
    Shape("sum", (0.2, 0.2), 0.25, ("wrong_answer", "passed"), coherence=1.0, leaked=True),
    Shape("area", (-0.4, None), -0.5, ("wrong_answer",), coherence=2.0, stale=1, baseline=Baseline(12, 16)),
    Shape("area", (0.4, 0.3), 0.0, ("passed", "time_limit"), coherence=3.0, stale=3, task="code"),
    Shape("sum", (1.0, 1.0), 0.75, ("passed",), fresh="memory_limit"),
    Shape("walk", (0.0, 0.0), fresh="passed", outcomes=(), baseline=None),
)


def written(run: Path, shapes: tuple[Shape, ...] = SHAPES) -> Path:
    """The run with a group of each shape, in steps that each made a version."""
    lines = []
    for step, shape in enumerate(shapes, start=1):
        one = group(*shape.trajectories(step), serial=10 + step, task=shape.task, baseline=shape.baseline)
        one = replace(one, problem=replace(one.problem, id=shape.problem, statement=f"The {shape.problem}?"))
        lines += [json.dumps(trajectory_record(step, one, each, 0.5)) for each in one.trajectories]
    (run / "trajectories.jsonl").write_text("\n".join(lines) + "\n")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        if record["kind"] == "training":
            record["stream/version"] = float(record["step"])
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([written(make_run(tmp_path_factory.mktemp("run"), "tracelift", 3, 0.75))]).page


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Any]:
    with opened_page(chromium, report) as opened:
        yield opened


def choose(page: Any, **values: str) -> None:
    """Set fields of the form by their ids, with ``_`` for ``-``."""
    for name, value in values.items():
        field = f"#{name.replace('_', '-')}"
        if page.evaluate(f"document.querySelector('{field}').tagName") == "SELECT":
            page.select_option(field, value)
        else:
            page.fill(field, value)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"reward_least": "0.35"}, [1, 4, 5]),
        ({"reward_most": "0.2"}, [2, 3, 6]),
        ({"reward_least": "0.1", "reward_most": "0.5"}, [2, 4]),
        ({"uplift_least": "0.25"}, [1, 2, 5]),
        ({"uplift_most": "0"}, [3, 4]),
        ({"rubric_most": "0.69"}, [2]),
        ({"rubric_least": "0.69"}, [1, 3, 4]),
        ({"dimension": "step_coherence", "rubric_least": "2", "rubric_most": "3"}, [3, 4]),
        ({"dimension": "step_coherence", "rubric_most": "2"}, [2, 3]),
        ({"dimension": "answer_support", "rubric_most": "3.9"}, []),
        ({"dimension": "plan_quality", "rubric_most": "4"}, [4]),
        ({"verdict": "time_limit"}, [4]),
        ({"verdict": "wrong_answer"}, [2, 3]),
        ({"verdict": "memory_limit"}, [5]),
        ({"verdict": "passed"}, [1, 2, 4, 5, 6]),
        ({"stale_least": "1"}, [3, 4]),
        ({"stale_least": "2"}, [4]),
        ({"kind": "leaked"}, [2]),
        ({"kind": "masked"}, [3]),
        ({"kind": "passed"}, [1, 2, 4, 5, 6]),
        ({"kind": "failed"}, [2, 3, 4, 5]),
        ({"kind": "mixed"}, [2, 4]),
        ({"task": "code"}, [4]),
        ({"search": "the AREA"}, [3, 4]),
        ({"search": "area", "task": "math", "uplift_most": "0", "stale_least": "1"}, [3]),
    ],
    ids=lambda each: ",".join(each) if isinstance(each, dict) else "",
)
def test_a_filter_leaves_the_groups_that_it_says(page: Any, values: dict[str, str], steps: list[int]) -> None:
    choose(page, **values)
    assert shown_steps(page) == steps
    assert shown(page).startswith(f"{len(steps)} of {len(SHAPES)} groups, {2 * len(steps)} traces")
    page.click("button[type=reset]")
    wait_for_count(page, len(SHAPES))
    assert len(shown_steps(page)) == len(SHAPES)


@pytest.mark.parametrize(
    ("values", "up", "down"),
    [
        ({"sort": "step"}, [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]),
        ({"sort": "reward"}, [3, 6, 2, 4, 1, 5], [5, 1, 4, 2, 6, 3]),
        ({"sort": "spread"}, [2, 3, 5, 6, 4, 1], [1, 4, 2, 3, 5, 6]),
        ({"sort": "uplift"}, [3, 4, 2, 1, 5, 6], [5, 1, 2, 4, 3, 6]),
        ({"sort": "success"}, [3, 2, 5, 4, 1, 6], [1, 6, 4, 5, 2, 3]),
        ({"sort": "baseline"}, [1, 2, 4, 5, 3, 6], [3, 1, 2, 4, 5, 6]),
        ({"sort": "rubric", "dimension": "step_coherence"}, [2, 3, 4, 1, 5, 6], [1, 4, 3, 2, 5, 6]),
        ({"sort": "stale"}, [1, 2, 5, 6, 3, 4], [4, 3, 1, 2, 5, 6]),
        ({"sort": "leak"}, [1, 3, 4, 5, 6, 2], [2, 1, 3, 4, 5, 6]),
        # The commonest: passed in 1, 4 and 6, wrong in 2 and 3, out of memory as often as passed in 5.
        ({"sort": "verdict"}, [1, 4, 6, 2, 3, 5], [5, 2, 3, 1, 4, 6]),
    ],
    ids=lambda each: each["sort"] if isinstance(each, dict) else "",
)
def test_an_order_holds_both_ways_and_what_is_unknown_comes_last(
    page: Any, values: dict[str, str], up: list[int], down: list[int]
) -> None:
    choose(page, **values)
    assert shown_steps(page) == up
    choose(page, order="-1")
    assert shown_steps(page) == down
    assert f"step {down[0]}," in page.inner_text("#group h3 >> nth=0"), "the first of them is the one that is shown"


def test_a_group_says_what_was_answered_without_a_trace_or_that_it_was_not_kept(page: Any) -> None:
    choose(page, kind="leaked")
    assert "2 \u00d7 wrong_answer" in page.inner_text(".without")
    choose(page, kind="masked")
    assert "baseline 0.75" in page.inner_text(".without") and "were not kept" in page.inner_text(".without")
    choose(page, kind="", sort="step", order="-1")
    assert page.locator(".without").count() == 0 and "no baseline" in page.inner_text("#group")


def test_a_sample_apart_from_the_others_counts_as_a_success(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("walk")
    assert "success 1.00" in page.inner_text(".row")


def test_the_same_problem_is_followed_over_training(page: Any) -> None:
    buttons = page.locator(".others button")
    assert [text.split(":")[0] for text in buttons.all_inner_texts()] == ["1", "2", "5"]
    assert [buttons.nth(i).is_disabled() for i in range(3)] == [True, False, False]
    buttons.nth(2).click()
    assert "step 5, problem sum" in page.inner_text("#group h3 >> nth=0")
    assert "step 5" in page.inner_text(".row[aria-selected=true]"), "the list goes with it"
    choose(page, kind="leaked")
    buttons.nth(0).click()
    assert "step 1, problem sum" in page.inner_text("#group h3 >> nth=0"), "also where the filters hide it"
    assert shown_steps(page) == [2]


def test_the_same_problem_is_followed_by_keyboard(page: Any) -> None:
    page.focus("#group")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "step 2, problem sum" in page.inner_text("#group h3 >> nth=0")
    assert page.evaluate("document.activeElement.id") == "group"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "step 1, problem sum" in page.inner_text("#group h3 >> nth=0")


@pytest.mark.parametrize("width", [1400, 420])
def test_two_runs_are_read_in_one_page(chromium: Any, tmp_path: Path, width: int) -> None:
    other = (Shape("sum", (0.1, 0.1), 0.1), Shape("only", (0.6, 0.6), 0.2))
    runs = [written(make_run(tmp_path / name, name, 0, 0.6), each) for name, each in (("a", SHAPES), ("b", other))]
    with opened_page(chromium, write_report(runs, tmp_path / "out").page, width=width) as page:
        assert shown(page).startswith("8 of 8 groups") and page.is_visible("#run")
        assert "+0.000 [" in page.inner_text("#summary"), "their last evaluations, with an interval"
        choose(page, run="1")
        assert shown_steps(page) == [1, 2] and "run 2" in page.inner_text(".row >> nth=0")
        assert "run 2: " in page.inner_text("#group") and ": b, seed 0" in page.inner_text("#group")
        choose(page, run="0", reward_least="0.9")
        assert shown_steps(page) == [5]
        choose(page, run="", reward_least="", search="The sum?")
        heads = [text[:5] for text in page.locator(".row > div:first-child").all_inner_texts()]
        assert heads == ["run 1", "run 2", "run 1", "run 1"], "in front, where a narrow list does not cut it off"
        page.click(".row >> nth=0")
        lines = page.locator(".others").all_inner_texts()
        assert [line.split(" at step")[0] for line in lines] == [f"The same problem in run {run}" for run in (1, 2)]
        page.locator(".others").nth(1).locator("button").first.click()
        assert "run 2: " in page.inner_text("#group"), "one problem is compared between the runs"
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_row_says_by_what_it_is_sorted(page: Any) -> None:
    told = {"verdict": "memory limit", "leak": "2 leaks", "stale": "staleness 3", "baseline": "baseline 0.75"}
    for order, words in told.items():
        choose(page, sort=order, order="-1")
        assert page.inner_text(".row >> nth=0 >> div >> nth=1").startswith(words)
    choose(page, sort="step")
    assert page.locator(".row b").count() == 0


def test_two_steps_of_one_problem_stand_side_by_side(page: Any) -> None:
    assert page.locator("#beside option").all_inner_texts() == ["nothing", "step 2: +0.20", "step 5: +1.00"]
    choose(page, beside="1")
    columns = page.locator("#group .column")
    assert [text.split("\n")[0] for text in columns.all_inner_texts()] == ["Step 1", "Step 5"]
    assert "reward +0.70, uplift +0.50, success 1.00" in columns.nth(0).inner_text()
    assert "reward +1.00 (+0.30), uplift +0.75 (+0.25), success 0.50 (-0.50)" in columns.nth(1).inner_text()
    assert [columns.nth(i).locator(".trace").count() for i in range(2)] == [3, 3], "each with its baseline"
    left, right = (columns.nth(i).bounding_box() for i in range(2))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    page.locator(".others button").nth(1).click()
    assert [text.split("\n")[0] for text in columns.all_inner_texts()] == ["Step 2", "Step 5"], (
        "it stays beside the next"
    )
    choose(page, beside="")
    assert columns.count() == 0 and page.locator("#group .trace").count() == 3
    choose(page, beside="0")
    page.click(".row >> nth=2")
    assert columns.count() == 0, "another problem has nothing beside it"


def test_steps_are_put_beside_each_other_by_keyboard(page: Any) -> None:
    page.focus("#group")
    for _ in range(3):  # over the two buttons
        page.keyboard.press("Tab")
    for step in (2, 5):
        page.keyboard.press("ArrowDown")
        assert f"Step {step}" in page.locator("#group .column").nth(1).inner_text()
        assert page.evaluate("document.activeElement.id") == "beside"


def test_two_steps_fit_a_narrow_window_one_below_the_other(chromium: Any, report: Path) -> None:
    with opened_page(chromium, report, width=420) as page:
        choose(page, beside="0")
        upper, lower = (page.locator("#group .column").nth(i).bounding_box() for i in range(2))
        assert upper["y"] + upper["height"] <= lower["y"]
        assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_a_page_full_of_long_texts_opens_filters_and_sorts(chromium: Any, long_report: Path) -> None:
    with opened_page(chromium, long_report) as page:
        assert shown(page) == f"{GROUPS} of {GROUPS} groups, {MOST_TRACES} traces. / searches, arrow keys move."
        assert page.locator(".row").count() < 60, "only those in sight are drawn"
        choose(page, search="the END of 4321.")
        wait_for_count(page, 1)
        assert shown_steps(page) == [4321] and "the end of 4321." in page.inner_text("#group")
        choose(page, search="no such text")
        wait_for_count(page, 0)
        choose(page, search="", verdict="time_limit", reward_least="0.5", sort="reward", order="-1")
        limited = [step for step in range(GROUPS, GROUPS // 2 - 1, -1) if step % len(OUTCOMES) == 3]
        wait_for_count(page, len(limited))
        assert shown_steps(page)[:5] == limited[:5]
        choose(page, verdict="", reward_least="", sort="leak")
        wait_for_count(page, GROUPS)
        assert shown_steps(page)[0] == GROUPS
        choose(page, stale_least="0")
        wait_for_count(page, 1)
        assert shown_steps(page) == [1], "the run measured no version: its first step alone has a staleness"
        choose(page, stale_least="", sort="step")
        wait_for_count(page, GROUPS)
        page.focus("#list")
        page.keyboard.press("End")
        assert shown_steps(page)[-1] == 1 and "step 1," in page.inner_text("#group h3 >> nth=0")
