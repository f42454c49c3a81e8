"""The sizes in the documentation are those of the memory plan."""

from __future__ import annotations

from pathlib import Path

from benchmarks.pages import with_part
from benchmarks.sizes import PAGE, PART, tables


def test_the_tables_of_sizes_are_up_to_date(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    assert text == with_part(text, PART, tables(tmp_path)), "run `python -m benchmarks.sizes`"
