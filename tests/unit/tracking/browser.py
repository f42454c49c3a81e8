"""A report's page in headless Chromium, for tests that use it as a reader would.

Takes the package playwright, which comes with ``make docs``, and a Chromium or Chrome of the system
(``apt-get install chromium``); without them these tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hang import HANG_S


@contextmanager
def started_chromium() -> Iterator[Any]:
    """The browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright comes with `make docs`")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = started.chromium.launch(executable_path=binary, args=[*arguments, "--disable-background-networking"])
        yield browser
        browser.close()


@contextmanager
def opened_page(browser: Any, report: Path, scheme: str = "light", width: int = 1400) -> Iterator[Any]:
    """The page without a network; whatever it says on the console or asks for is an error."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True)
    context.set_default_timeout(1000 * HANG_S)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda asking: asked.append(asking.url))
    page.goto(report.as_uri())
    page.locator("#count").filter(has_text=" groups, ").wait_for()  # the traces are unpacked once the page stands
    yield page
    context.close()
    assert said == [] and asked == [report.as_uri()]


def shown(page: Any) -> str:
    """How many groups the page says that it shows."""
    return str(page.inner_text("#count"))


def wait_for_count(page: Any, groups: int) -> None:
    """Until the page says that it shows so many groups.

    By a locator: ``wait_for_function`` evaluates a string in the page each time it looks again, which the page's
    content security policy forbids.
    """
    page.locator("#count").filter(has_text=re.compile(rf"^{groups} of ")).wait_for()


def shown_steps(page: Any) -> list[int]:
    """The steps of the groups that are listed, from the top."""
    rows = page.locator("#rows .row > div:first-child").all_inner_texts()
    return [int(text.split("step ")[1].split()[0]) for text in rows]
