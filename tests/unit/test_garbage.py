"""Garbage collections leave alone what a process is built of, and are rare."""

from __future__ import annotations

import gc

from tracelift_ray.garbage import YOUNG, collect_rarely, held_off, loading, settle


def test_collections_of_a_settled_driver_leave_alone_what_it_was_built_of() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, *before[1:])
        settle()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == (YOUNG, *before[1:])
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_nothing_is_collected_while_something_loads_and_it_is_left_alone_later() -> None:
    try:
        with loading():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]
        assert gc.isenabled() and gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()


def test_nothing_is_collected_while_something_is_computed_without() -> None:
    with held_off():
        assert not gc.isenabled()
        with held_off():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_process_that_begins_collects_rarely() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, *before[1:])
        collect_rarely()
        assert gc.get_threshold() == (YOUNG, *before[1:])
    finally:
        gc.set_threshold(*before)
