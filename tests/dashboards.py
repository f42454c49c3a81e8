"""What ``docs/dashboards.md`` says of curves."""

from __future__ import annotations

import re
from pathlib import Path

from tracelift_ray.tracking.questions import Question

PAGE = Path(__file__).resolve().parents[1] / "docs" / "dashboards.md"


def explained(question: Question) -> list[str]:
    """The metrics that the page explains under a question: `pools/NAME/queued_mean`, `queue_p95_s`, …."""
    page = PAGE.read_text("utf-8")
    (section,) = re.findall(rf"^## {re.escape(question.title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    metrics = []
    for curve in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        group = ""
        for name in re.findall(r"`([^`]+)`", curve):
            group = name.rpartition("/")[0] or group
            metrics.append(re.sub("(TASK|NAME|INDEX)(/INDEX)?", ".*", f"{group}/{name.rpartition('/')[2]}"))
    assert metrics, question.title
    return metrics
