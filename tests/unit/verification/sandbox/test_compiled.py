"""A program is compiled for its first test; the code is there for the others, and neither file for the program."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator

import pytest

from tracelift_ray.verification.sandbox.inside.program import FILE, compile_program


@pytest.fixture
def compiled() -> Iterator[int]:
    descriptor = os.memfd_create("code")
    yield descriptor
    os.close(descriptor)
    linecache.cache.pop(FILE, None)


def value_of(source: str, compiled: int) -> int:
    """What the program gives ``x``; checks that both descriptors are closed before it could run."""
    reading, report = os.pipe()
    handed = os.dup(compiled)
    names: dict[str, int] = {}
    code = compile_program(source, report, handed)
    for closed in (report, handed):
        with pytest.raises(OSError):
            os.fstat(closed)
    os.close(reading)
    exec(code, {}, names)
    return names["x"]


def test_the_code_of_the_first_run_serves_the_next(compiled: int) -> None:
    assert value_of("x = 1", compiled) == 1
    assert value_of("x = 2", compiled) == 1


@pytest.mark.parametrize("left", [0, 1, 30])
def test_code_of_which_a_part_is_there_is_compiled_again(compiled: int, left: int) -> None:
    assert value_of("x = 1", compiled) == 1
    os.ftruncate(compiled, left)
    assert value_of("x = 2", compiled) == 2
