"""The sizes in the documentation are those of the memory plan."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sizes import PAGE, page, tables


def test_the_tables_of_sizes_are_up_to_date(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    assert text == page(text, tables(tmp_path)), "run `python -m benchmarks.sizes`"
