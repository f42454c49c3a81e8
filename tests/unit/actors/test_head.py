"""A head that is gone is noticed, the run is asked to save, and the process leaves; one that answers is left alone."""

from __future__ import annotations

import socket
import threading

from actors.head import HeadWatch
from tests.hang import HANG_S


class Left:
    def __init__(self) -> None:
        self.asked = threading.Event()
        self.lines: list[str] = []

    def watch(self, address: str) -> HeadWatch:
        return HeadWatch(address, self.asked.set, self.lines.append)


def test_a_run_leaves_with_a_cause_once_it_has_saved() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    left = Left()
    watch = left.watch(address)
    thread = threading.Thread(target=watch.run, args=(0.01, HANG_S))
    thread.start()
    assert not left.asked.wait(0.2)
    listener.close()
    assert left.asked.wait(HANG_S) and not left.lines
    watch.saved()
    thread.join(HANG_S)
    assert left.lines[0].startswith(f"the head of the Ray cluster at {address} no longer answers")


def test_a_session_that_ends_in_order_is_no_loss() -> None:
    left = Left()
    watch = left.watch("127.0.0.1:1")
    watch.close()
    watch.run(0.01)
    assert not left.asked.is_set() and left.lines == []


def test_a_save_that_hangs_holds_nobody_up() -> None:
    left = Left()
    left.watch("127.0.0.1:1").run(0.01, 0.05)
    assert left.asked.is_set() and len(left.lines) == 1
