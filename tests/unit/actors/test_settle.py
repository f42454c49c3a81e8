"""A driver's garbage collector."""

from __future__ import annotations

import gc

from actors.runtime import YOUNG, settle


def test_collections_of_a_settled_driver_leave_alone_what_it_was_built_of() -> None:
    before = gc.get_threshold()
    try:
        settle()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == (YOUNG, *before[1:])
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
