"""Items of a stage outlive the process that made them, and nothing else does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.dataset.pipeline.store import ItemStore
from tracelift_ray.errors import DataError


def put(path: Path, settings: dict[str, Any], **items: Any) -> None:
    with closing(ItemStore(path, settings)) as store:
        for name, value in items.items():
            store.put({"name": name}, name, value)


def test_items_are_found_by_input_and_settings(tmp_path: Path) -> None:
    put(tmp_path / "s", {"seed": 0}, a=[1, "é\ud800"], b={"x": None})
    with closing(ItemStore(tmp_path / "s", {"seed": 0})) as store:
        assert store.get({"name": "b"}) == {"x": None} and store.get({"name": "c"}) is None
        assert store.get({"name": "a"})[0] == 1
    with closing(ItemStore(tmp_path / "s", {"seed": 1})) as store:
        assert store.get({"name": "a"}) is None


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_line_costs_its_item_alone_and_the_file_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "s"
    put(path, {}, a=1, b=2)
    path.write_bytes(path.read_bytes()[:-cut])
    put(path, {}, c=3)
    with closing(ItemStore(path, {})) as store:
        assert [store.get({"name": name}) for name in "abc"] == [1, None, 3]
    assert path.read_bytes().count(b"\n") == 2


def test_a_second_build_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    with closing(ItemStore(tmp_path / "s", {})), pytest.raises(DataError, match="being written by another build"):
        ItemStore(tmp_path / "s", {})
    ItemStore(tmp_path / "s", {}).close()


def test_a_file_that_is_no_store_is_refused_with_its_line(tmp_path: Path) -> None:
    put(tmp_path / "s", {}, a=1)
    with open(tmp_path / "s", "a") as file:
        file.write('{"question": "?"}\n')
    with pytest.raises(DataError, match="s:2: is no item of a build"):
        ItemStore(tmp_path / "s", {})
