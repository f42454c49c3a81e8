"""The page of a report in headless Chromium, clicked and typed through as its reader would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracking.browser import opened_page, shown, wait_for_count
from tests.unit.tracking.test_page import BASELINE, HOSTILE, with_traces
from tests.unit.tracking.test_report import make_run
from tracelift_ray.tracking.report import write_report
from tracelift_ray.types import Artifact

STEPS = 200


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("run"), "tracelift", 3, 0.75)
    answer = replace(BASELINE.executions[1], artifact=Artifact(f"12 {HOSTILE}", HOSTILE))
    baseline = replace(BASELINE, executions=(*BASELINE.executions[:3], answer))
    statement = f"What is 3 + 4? {HOSTILE}"
    return write_report([with_traces(run, steps=STEPS, text=HOSTILE, statement=statement, baseline=baseline)]).page


@pytest.fixture(params=[("light", 1400), ("dark", 1400), ("light", 420), ("dark", 420)], ids=lambda each: f"{each}")
def opened(chromium: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, light or dark, wide or narrow."""
    scheme, width = request.param
    with opened_page(chromium, report, scheme, width) as page:
        yield page


def test_filters_and_sorting_choose_the_groups_that_they_say(opened: Any) -> None:
    assert shown(opened).startswith(f"{STEPS} of {STEPS} groups, {3 * STEPS} traces")
    opened.select_option("#kind", "masked")
    assert shown(opened).startswith("0 of") and "No group fits" in opened.inner_text("#group")
    opened.select_option("#kind", "malformed")
    assert shown(opened).startswith(f"{STEPS} of")
    opened.fill("#search", "no such text")
    assert shown(opened).startswith("0 of")
    opened.click("button[type=reset]")
    wait_for_count(opened, STEPS)
    opened.select_option("#order", "-1")
    assert f"step {STEPS}," in opened.inner_text("#group")


def test_the_keyboard_alone_reads_the_traces(opened: Any) -> None:
    opened.keyboard.press("/")
    opened.keyboard.type("alert(1)")
    assert shown(opened).startswith(f"{STEPS} of")
    opened.keyboard.press("Escape")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    assert "step 3," in opened.inner_text("#group")
    opened.keyboard.press("End")
    assert f"step {STEPS}," in opened.inner_text("#group")
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "group"


def test_what_a_model_wrote_is_text(opened: Any) -> None:
    written = opened.inner_text("#group")
    assert "<script>alert(1)</script>" in written and "<img src=x" in written
    assert opened.locator("img").count() == 0 and opened.locator("script").count() == 2


def test_the_answers_without_a_trace_stand_before_the_traces_as_text(opened: Any) -> None:
    first = opened.locator(".traces > section").first.inner_text()
    assert first.startswith("Without a trace: baseline 0.50") and "2 of 4 samples passed" in first
    assert "2 \u00d7 passed" in first and f"12 {HOSTILE[:30]}" in first
    opened.fill("#search", "12 </script>")
    assert shown(opened).startswith(f"{STEPS} of"), "they are searched, too"


def test_nothing_is_wider_than_the_window_and_text_stands_out(opened: Any) -> None:
    width = opened.viewport_size["width"]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    text, ground = opened.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor,"
        " getComputedStyle(document.body).backgroundColor].map(colour => (colour.match(/[0-9.]+/g) || []).map(Number))"
        ".reduce((found, each, i) => i == 0 ? [each] : each.length == 4 && each[3] == 0 ? found : [found[0], each], [])"
    )
    assert abs(sum(text[:3]) - sum(ground[:3])) > 300
