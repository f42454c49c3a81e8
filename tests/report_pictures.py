"""The pictures of a report's page that the documentation shows, taken in headless Chromium::

    python -m tests.report_pictures runs/quickstart docs/results

Writes ``report_page.png`` (the reader, light), ``report_page_dark.png`` (the curves) and ``report_page_narrow.png``
(the reader in a narrow window), each of 128 colours, and says how large they are.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.unit.tracking.browser import opened_page, started_chromium
from tracelift_ray.tracking.report import write_report

COLOURS = 128


def best_first(page: Any) -> None:
    """Groups with the largest spread of rewards on top, the first of them chosen."""
    page.select_option("#sort", "spread")
    page.select_option("#order", "-1")
    page.evaluate("document.getElementById('traces').scrollIntoView()")


def curves(page: Any) -> None:
    """The first questions and their curves."""
    page.evaluate("document.getElementById('curves').scrollIntoView()")


#: Name, colour scheme, width and height of the window, and what is done before the picture is taken.
PICTURES = (
    ("report_page", "light", 1200, 850, best_first),
    ("report_page_dark", "dark", 1200, 850, curves),
    ("report_page_narrow", "light", 420, 850, best_first),
)


def main() -> None:
    """Report the run into a temporary folder, open the page, take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started_chromium() as browser:
        report = write_report([options.run], Path(folder)).page
        for name, scheme, width, height, arrange in PICTURES:
            with opened_page(browser, report, scheme, width) as page:
                page.set_viewport_size({"width": width, "height": height})
                arrange(page)
                taken = Image.open(io.BytesIO(page.screenshot()))
            path = options.out / f"{name}.png"
            taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
