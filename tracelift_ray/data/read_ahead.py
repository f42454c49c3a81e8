"""Problems drawn ahead in a thread: a generator that is slow does not hold up who draws."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from tracelift_ray.types import Problem

#: Problems that are kept.
MOST = 64
#: A problem, and the number to draw the next one from.
Drawn = tuple[Problem, int]


class ReadAhead:
    """Draws from a stream, and goes on drawing where that left off.

    Args:
        draw: the first problem of use from a number on, and the number behind its own; called in a thread.
    """

    def __init__(self, draw: Callable[[int], Drawn]) -> None:
        self._draw = draw
        self._next: int | None = None
        self._drawn: queue.Queue[Drawn | BaseException] = queue.Queue(MOST)

    def take(self, number: int) -> Drawn:
        """What ``draw`` gives for ``number``, or raises; waits only for what has not been drawn yet."""
        if number != self._next:
            self._drawn = queue.Queue(MOST)
            # A daemon: nobody waits for problems that are not asked for.
            threading.Thread(
                target=_draw_on, args=(self._draw, number, self._drawn), name="problems", daemon=True
            ).start()
        drawn = self._drawn.get()
        if isinstance(drawn, BaseException):
            self._next = None
            raise drawn
        self._next = drawn[1]
        return drawn


def _draw_on(draw: Callable[[int], Drawn], number: int, drawn: queue.Queue[Drawn | BaseException]) -> None:
    while True:
        try:
            found = draw(number)
        except BaseException as error:  # raised by take, which else would wait for ever
            drawn.put(error)
            return
        drawn.put(found)
        number = found[1]
