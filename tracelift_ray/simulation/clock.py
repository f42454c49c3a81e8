"""An event loop on a virtual clock whose schedule a seed decides.

Promises: one seed gives one order of callbacks; nothing waits for real time, opens a socket or starts a thread; where
nothing can run any more, ``Deadlock`` names the tasks that wait. Among callbacks that are ready the next one is drawn
at random, which a real loop does not do: code that is right here needs no luck with the order.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any


class Deadlock(Exception):
    """Nothing is ready and no timer is set, yet the run has not ended."""


class Killed(BaseException):
    """The process is gone: no ``except`` or ``finally`` of it runs."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one simulated process.

    Attributes:
        now: virtual seconds since the process started; what ``time()`` returns.
        steps: callbacks run so far.
        after_step: called after each; what it raises ends the loop.
    """

    def __init__(self, seed: str, shuffled: bool = True) -> None:
        super().__init__()
        self.steps = 0
        self.after_step: Callable[[], None] = _nothing
        self.unhandled: list[str] = []
        self._random = Random(seed) if shuffled else None
        self.now = 0.0
        self._dead = False
        self._made: list[asyncio.Task[Any]] = []
        self._timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self._queue: Any = self._ready  # type: ignore[attr-defined]
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]
        self.set_exception_handler(self._note_unhandled)

    def time(self) -> float:
        """The virtual clock."""
        return self.now

    def pending(self) -> list[str]:
        """Names of the tasks that have not ended, the oldest first, each with what it waits for."""
        return [f"{task.get_name()} ({_place(task)})" for task in self._made if not task.done()]

    def abandon(self) -> None:
        """Close the loop as the death of its process does; what its coroutines do while they are torn down is lost."""
        self._dead = True
        self._queue.clear()
        self._timers.clear()
        for task in self._made:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(BaseException):  # code that runs after its process: of no effect
                    task.get_coro().close()
        self.close()

    def _run_once(self) -> None:
        """The next callback; where none is ready, the clock jumps to the next timer."""
        timers, ready = self._timers, self._queue
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        if not ready:
            if not timers:
                raise Deadlock("nothing can run any more; these wait: " + "; ".join(self.pending()))
            self.now = max(self.now, timers[0].when())
        while timers and timers[0].when() <= self.now:
            due = heapq.heappop(timers)
            due._scheduled = False  # type: ignore[attr-defined]
            ready.append(due)
        if self._random is not None and len(ready) > 1:
            ready.rotate(-self._random.randrange(len(ready)))
        handle = ready.popleft()
        if not handle.cancelled():
            handle._run()
            self.steps += 1
            self.after_step()

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> Any:
        if len(self._made) % 256 == 255:
            self._made = [task for task in self._made if not task.done()]
        task = asyncio.Task(work, loop=loop, **options)
        self._made.append(task)
        return task

    def _note_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._dead and "never retrieved" not in context["message"]:
            self.unhandled.append(f"{context['message']}: {context.get('exception')!r}")

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        if self._dead:
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """What is a thread's work elsewhere is done at once."""
        done = self.create_future()
        done.set_result(func(*args))
        return done

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers leave the heap when their time comes."""

    def _process_events(self, event_list: Any) -> None:
        raise AssertionError("a simulated loop has no selector")


def _nothing() -> None:
    pass


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task waits: the innermost function of the library."""
    frames = [f for f in task.get_stack() if "asyncio" not in f.f_code.co_filename]
    names = [f"{frame.f_code.co_name}:{frame.f_lineno}" for frame in frames[-1:]]
    return names[0] if names else "not started"
