"""The processes of one run: forked, watched until they have ended or met a limit, and accounted for."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from tracelift_ray.verification.sandbox.inside import program, solution, tester
from tracelift_ray.verification.sandbox.inside.confine import Confinement, Step, confine, prepare

#: Bytes of one control message.
MAX_MESSAGE = 1 << 16
#: How often the CPU time of a run is looked at, and how long at most the answer to ``late`` is waited for.
POLL_S, ANSWER_S = 0.05, 10.0
#: How long a program that left its tests has to end by itself, so that what ended it is known.
GONE_S = 1.0


class Run:
    """The processes of one run: a program, or a program and its tests beside it.

    Args:
        calls: ``confinement.calls`` for the limits of the job.
    """

    def __init__(
        self, control: socket.socket, confinement: Confinement, job: dict[str, Any], calls: tuple[Step, ...]
    ) -> None:
        self._control = control
        self._confinement = confinement
        self._job = job
        self._calls = calls
        self._pids: list[int] = []
        self._reports: list[int] = []
        self._ticks: int | None = None
        #: How each ended, as the inside of a JSON object.
        self._ended: dict[int, str] = {}
        self._killed_for = ""
        self._killed: set[int] = set()
        self._gone_at: float | None = None
        self._test_began = 0.0
        #: CPU seconds that each process had used when the test began.
        self._cpu_before: dict[int, float] = {}

    def start(self, descriptors: list[int]) -> None:
        """Fork what the run needs; ``descriptors`` are those that came with its message."""
        payload, stdin, stdout, stderr, *more = descriptors
        if len(more) == 1:
            (code,) = more
            places = {0: stdin, 1: stdout, 2: stderr}
            self._fork(payload, places, lambda given, report: program.run_program(given, report, code), (code,))
            return
        tests, results = more
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ticks, ticking = os.pipe()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        places = {0: stdin, 1: stdout, 2: stderr, solution.CHANNEL: one.fileno()}
        self._fork(payload, places, _run_solution)
        places = {0: null, 1: null, 2: null, solution.CHANNEL: other.fileno()}
        self._fork(tests, places | {tester.RESULTS: results, tester.TICKS: ticking}, _run_tests)
        one.close()
        other.close()
        close_all([ticking, null])

    def watch(self) -> str:
        """Wait until all processes have ended, ending them at their limits.

        Returns:
            How each ended, in their order, and the run, as the JSON of the message about it.
        """
        watched = {os.pidfd_open(pid): pid for pid in self._pids}
        poller = select.poll()
        for descriptor in (*watched, self._control.fileno(), *([] if self._ticks is None else [self._ticks])):
            poller.register(descriptor, select.POLLIN)
        began = self._test_began = time.monotonic()
        wait = min(POLL_S, self._job["cpu_s"], self._job["wall_s"])
        while watched:
            for descriptor, _ in poller.poll(1000 * wait):
                if descriptor in watched:
                    self._reap(watched.pop(descriptor))
                    poller.unregister(descriptor)
                    os.close(descriptor)
                elif descriptor == self._ticks:
                    if not self._tick():
                        poller.unregister(descriptor)
                else:  # The supervisor is gone, or breaks the protocol.
                    self._kill("closed")
                    os._exit(0)
            if watched:
                if self._pids[-1] in self._ended and not self._killed_for and self._out_of_grace():
                    self._kill("over")
                wait = self._enforce(watched)
        return self._account(time.monotonic() - began)

    def _enforce(self, watched: dict[int, int]) -> float:
        """Kill at a limit. The seconds until the limits are to be looked at again."""
        if self._killed_for:
            return ANSWER_S
        now = time.monotonic()
        cpu_left = min(
            self._job["cpu_s"] - (_cpu_seconds(pid) - self._cpu_before.get(pid, 0.0)) for pid in watched.values()
        )
        wall_left = self._test_began + self._job["wall_s"] - now
        if cpu_left <= 0:
            self._kill("cpu")
        elif wall_left <= 0:
            longer = self._ask_for_time(list(watched))
            self._test_began += longer
            if longer == 0.0:
                self._kill("wall")
        return min(POLL_S, max(cpu_left, 0.001), max(wall_left, 0.0))

    def _restart_clocks(self, now: float) -> None:
        """The limits are those of one test."""
        self._test_began = now
        self._cpu_before = {pid: _cpu_seconds(pid) for pid in self._pids if pid not in self._ended}

    def _tick(self) -> bool:
        """A test has ended. False where there will be no more."""
        assert self._ticks is not None
        said = os.read(self._ticks, 64)
        if tester.TICK_GONE in said:
            self._gone_at = time.monotonic()
        if said:
            send_message(self._control, {"tick": self._job["id"]})
            self._restart_clocks(time.monotonic())
        return bool(said)

    def _out_of_grace(self) -> bool:
        """Whether what is left of the run may be ended once its last process has."""
        return self._gone_at is None or time.monotonic() > self._gone_at + GONE_S

    def _fork(
        self,
        payload: int,
        places: dict[int, int],
        body: Callable[[Any, int], None],
        also_kept: tuple[int, ...] = (),
    ) -> None:
        reading, report = os.pipe()
        self._reports.append(reading)
        prepared = prepare(places, payload, report, self._confinement, self._calls, also_kept)
        pid = os.fork()
        if pid == 0:
            try:
                body(marshal.loads(confine(prepared)), report)
            finally:
                os._exit(1)
        self._pids.append(pid)
        os.close(report)

    def _reap(self, pid: int) -> None:
        _, status, usage = os.wait4(pid, 0)
        self._ended[pid] = (
            f'"exit_code": {os.waitstatus_to_exitcode(status)}, "killed": {str(pid in self._killed).lower()}, '
            f'"cpu_s": {usage.ru_utime + usage.ru_stime}, "peak_kib": {usage.ru_maxrss}'
        )

    def _kill(self, reason: str) -> None:
        self._killed_for = reason
        for pid in reversed(self._pids):  # The tests first: else they could still say that the program left them.
            if pid in self._ended:
                continue
            self._killed.add(pid)
            os.kill(pid, signal.SIGKILL)
            if self._confinement.seccomp_filter is None:  # Without it, a program may have children.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _ask_for_time(self, watched: list[int]) -> float:
        """Let the supervisor look at the processes while they are there: it knows whether others kept them waiting.

        Returns:
            The seconds that they get in return; 0 to end them.
        """
        send_message(self._control, {"late": self._job["id"]}, watched)
        if not select.select([self._control], [], [], ANSWER_S)[0]:
            return 0.0
        return float(self._control.recv(MAX_MESSAGE) or 0.0)

    def _account(self, wall_s: float) -> str:
        """Put together here, because Python's own writer of JSON takes longer than all the rest of this."""
        processes = []
        for pid, reading in zip(self._pids, self._reports, strict=True):
            report = os.read(reading, 512)
            os.close(reading)
            text = f'"{report.decode()}"' if report.isalnum() else json.dumps(report.decode(errors="replace"))
            processes.append(f'{{{self._ended[pid]}, "report": {text}}}')
        if self._ticks is not None:
            os.close(self._ticks)
        return (
            f'{{"id": {self._job["id"]}, "processes": [{", ".join(processes)}], "killed_for": "{self._killed_for}", '
            f'"wall_s": {wall_s}}}'
        )


def _run_solution(payload: dict[str, Any], report: int) -> None:
    solution.run_solution(payload["program"], payload["setup"], report)


def _run_tests(payload: dict[str, Any], report: int) -> None:
    os.close(report)
    tester.run_tests(**payload)


def process_clock(pid: int) -> int:
    """The clock of the CPU time of a process, all of its threads together; see ``clock_getcpuclockid(3)``."""
    return (~pid << 3) | 2


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process that has not been reaped, all threads together."""
    try:
        return time.clock_gettime(process_clock(pid))
    except OSError:  # It has just ended.
        return 0.0


def send_message(control: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    socket.send_fds(control, [json.dumps(message).encode()], descriptors or [])


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
