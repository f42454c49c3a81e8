"""Calls that are made one after another in a thread of their own, so that nobody waits for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic


class Background:
    """Its thread starts with the first call, and holds up no end of the process."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._began: float | None = None  # the call under way

    def add(self, call: Callable[[], None]) -> None:
        """Have ``call`` made after those before it; it must not raise."""
        if self._thread.ident is None:
            self._thread.start()
        self._calls.put(call)

    def stuck_s(self) -> float:
        """For how long the call under way has been so; 0 without one."""
        began = self._began
        return 0.0 if began is None else monotonic() - began

    def finish(self, timeout_s: float) -> bool:
        """Whether all calls are over within ``timeout_s`` seconds; no more may be added."""
        if self._thread.ident is None:
            return True
        self._calls.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            self._began = monotonic()
            call()
            self._began = None
