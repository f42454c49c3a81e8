"""Runs a command in this process, as its own process would run it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn
from unittest import mock


class Done(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def run_command(main: Callable[[], NoReturn], *arguments: str) -> Done:
    """Call the ``main`` of a command with a command line. What is no clean end raises."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["command", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            return Done(ended.code, out.getvalue(), err.getvalue())
