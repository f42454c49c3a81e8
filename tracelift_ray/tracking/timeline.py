"""Where the time of the last steps went: a trace that Perfetto shows, ``timeline.json.gz`` in the run directory.

Spans are noted when they end, in the clock of the event loop, and forgotten once they ended before the last ``steps``
steps or there are more than ``MOST_SPANS``, so that memory is bounded. The file is written every ``steps`` steps, in a
thread, and at the end of the run; where it cannot be written that is a line, and the run goes on.

The format is Chrome's trace events in JSON. Spans of one track that overlap are put side by side in lanes.
"""

from __future__ import annotations

import contextlib
import gzip
import heapq
import json
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

MOST_SPANS = 100_000
#: Seconds that the end of a run waits for a file that is being written.
WRITE_S = 60.0
#: Processes of the picture, from the top; pools follow.
LOOP, GROUPS = "loop", "groups"
T = TypeVar("T")


class Span(NamedTuple):
    """What went on in a track of a process from ``since`` to ``until``, in seconds."""

    process: str
    track: str
    name: str
    since: float
    until: float


class Timeline:
    """Takes spans of a running loop, and writes the newest.

    Args:
        path: the file.
        steps: how many of the last steps it shows.
        say: prints one line.
        clock: that of the event loop.
    """

    def __init__(
        self, path: Path, steps: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._steps = steps
        self._say = say
        self._clock = clock
        self._spans: deque[Span] = deque(maxlen=MOST_SPANS)  # in the order of their ends
        self._bounds: deque[float] = deque([clock()], maxlen=steps + 1)  # of the last steps
        self._writing: threading.Thread | None = None

    def add(self, process: str, track: str, name: str, since: float) -> None:
        """A span that ends now."""
        self._spans.append(Span(process, track, name, since, self._clock()))

    def of_loop(self, stage: str, since: float) -> None:
        """A stage of the training loop ends."""
        self.add(LOOP, "stages", stage, since)

    def of_pool(self, pool: str) -> Callable[[str, str, float], None]:
        """What a pool calls with a member, a method and its begin when a call ends."""
        return lambda member, method, since: self.add(f"pool {pool}", member, method, since)

    async def of_group(self, stage: str, name: str, work: Awaitable[T]) -> T:
        """Await a stage of a group, and note it."""
        since = self._clock()
        try:
            return await work
        finally:
            self.add(GROUPS, stage, name, since)

    def step_ended(self, step: int, seconds: float) -> None:
        """The training loop has made a step of so many seconds; what ended before the last ``steps`` is forgotten."""
        self.add(LOOP, "steps", f"step {step}", self._clock() - seconds)
        self._bounds.append(self._clock())
        while self._spans and self._spans[0].until < self._bounds[0]:
            self._spans.popleft()
        if step % self._steps == 0 and (self._writing is None or not self._writing.is_alive()):
            self._writing = threading.Thread(target=self._write, args=(list(self._spans),), daemon=True)
            self._writing.start()

    def close(self) -> None:
        """Write what there is; closing twice is harmless."""
        if self._writing is not None:
            self._writing.join(WRITE_S)
        self._write(list(self._spans))

    def _write(self, spans: Sequence[Span]) -> None:
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        try:
            with gzip.open(partial, "wt", encoding="utf-8", compresslevel=4) as file:
                file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
                file.write(",\n".join(map(json.dumps, trace_events(spans))))
                file.write("\n]}\n")
            os.replace(partial, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            self._say(f"{self._path} was not written: {error.strerror or error}")


def trace_events(spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """Chrome's trace events of spans: the names of processes and lanes, and a complete event for each span."""
    began = min((span.since for span in spans), default=0.0)
    tracks: dict[str, dict[str, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for span in spans:
        tracks[span.process][span.track].append(span)
    order = sorted(tracks, key=lambda name: (name != LOOP, name != GROUPS, name))
    for pid, process in enumerate(order, start=1):
        yield _named("process_name", pid, 0, process)
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}
        tid = 0
        for track in sorted(tracks[process]):
            for lane in lanes(tracks[process][track]):
                tid += 1
                yield _named("thread_name", pid, tid, track)
                for span in lane:
                    start, length = round((span.since - began) * 1e6), round((span.until - span.since) * 1e6)
                    yield {"ph": "X", "name": span.name, "pid": pid, "tid": tid, "ts": start, "dur": length}


def lanes(spans: Sequence[Span]) -> list[list[Span]]:
    """The spans in as few lanes as they need so that none overlaps another, each lane in order of time."""
    found: list[list[Span]] = []
    free: list[tuple[float, int]] = []  # when each lane ends
    for span in sorted(spans, key=lambda each: (each.since, each.until)):
        if free and free[0][0] <= span.since:
            _, place = heapq.heappop(free)
            found[place].append(span)
        else:
            place = len(found)
            found.append([span])
        heapq.heappush(free, (span.until, place))
    return found


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}
