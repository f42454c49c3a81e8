"""How much of what a program wrote is read."""

from __future__ import annotations

import os

from tests.sandboxes import sandbox_config
from tracelift_ray.verification.sandbox import runs
from tracelift_ray.verification.sandbox.verdicts import Output


def output_of(stdout: bytes, stderr: bytes, output_kib: int) -> Output:
    files = []
    for content in (stdout, stderr):
        files.append(os.memfd_create("out"))
        os.write(files[-1], content)
    try:
        return runs._output(sandbox_config(output_kib=output_kib), *files)
    finally:
        for each in files:
            os.close(each)


def test_all_is_read_up_to_the_limit() -> None:
    content = bytes(range(256)) * 1024
    assert output_of(content, b"words", 257) == Output(content, b"words", flooded=False)


def test_of_a_flood_only_the_beginning_is_read() -> None:
    flood = output_of(b"a" * 2**20, b"b" * 2**20, 1024)
    assert flood.flooded and flood.stdout == b"a" * 2**16 and flood.stderr == b"b" * 2**16


def test_of_a_small_flood_no_more_than_the_limit_is_read() -> None:
    assert output_of(b"a" * 1025, b"", 1) == Output(b"a" * 1024, b"", flooded=True)
