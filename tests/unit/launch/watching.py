"""Work that lasts until it is seen that it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.hang import HANG_S


class Seen(Exception):
    """The sign of life came."""


class Watched:
    """What was said, and work that lasts until something of it is a sign of life."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def work_until(self, sign: str, again: bool = False) -> Callable[..., Any]:
        """``again``: the sign is also said once at the beginning."""

        def work(*_: object, **__: object) -> None:
            deadline = time.monotonic() + HANG_S
            while sum(sign in line for line in list(self.said)) < 1 + again:
                assert time.monotonic() < deadline, f"{sign!r} was not said: {self.said}"
                time.sleep(0.001)
            raise Seen

        return work
