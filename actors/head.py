"""What a run does when the head of its Ray cluster is gone: it saves what it can and leaves, with the cause.

Without it nothing new starts, calls to actors that died are never answered, and Ray ends this process by itself a
minute later. The watch is a thread, since Ray's own calls block the event loop then.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import ray

#: Seconds between two looks, for one look, and looks in vain in a row after which the head is lost.
EVERY_S, LOOK_S, LOOKS = 1.5, 2.0, 3
#: Seconds that a save may take then; Ray ends the process after sixty without its head.
SAVE_S = 30.0


class HeadWatch:
    """Looks at the head until it is closed.

    Args:
        address: ``HOST:PORT``.
        stop: asks the run to save and end; called from another thread.
        leave: ends the process, with a cause; called from another thread.
    """

    def __init__(self, address: str, stop: Callable[[], None], leave: Callable[[str], None]) -> None:
        self._address = address
        self._stop = stop
        self._leave = leave
        self._saved = threading.Event()
        self._closed = threading.Event()

    def saved(self) -> None:
        """Nothing is left to save."""
        self._saved.set()

    def close(self) -> None:
        """The session ends in order."""
        self._closed.set()

    def run(self, every_s: float = EVERY_S, save_s: float = SAVE_S) -> None:
        """Look until the head is lost or the watch is closed."""
        vain = 0
        while vain < LOOKS:
            if self._closed.wait(every_s):
                return
            vain = 0 if _answers(self._address) else vain + 1
        self._stop()
        self._saved.wait(save_s)
        self._leave(
            f"the head of the Ray cluster at {self._address} no longer answers: it has ended or is cut off, and this "
            "run with it; see gcs_server.out in the logs of its session"
        )


@contextlib.contextmanager
def watched_head(stop: Callable[[], None], leave: Callable[[str], None]) -> Iterator[HeadWatch]:
    """A watch on the head of the session that is open now."""
    watch = HeadWatch(ray.get_runtime_context().gcs_address, stop, leave)
    threading.Thread(target=watch.run, name="head-watch", daemon=True).start()
    try:
        yield watch
    finally:
        watch.close()


def _answers(address: str) -> bool:
    """Whether something takes connections there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), LOOK_S).close()
    except OSError:
        return False
    return True
