"""One slot: a fork server in its own process, and the channel to it. Used by one thread at a time.

The server dies with this process, however that ends: the kernel kills it when the thread that started it ends, and it
ends itself when the channel closes. Everything it started dies with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.verification.errors import NoVerdict
from tracelift_ray.verification.sandbox.inside.fork_server import MAPPED
from tracelift_ray.verification.sandbox.inside.run import MAX_MESSAGE
from tracelift_ray.verification.sandbox.policy import FLAGS, Policy, id_map, interpreter, slot_message
from tracelift_ray.verification.sandbox.starvation import WallClock, host_pid, kept_waiting
from tracelift_ray.verification.sandbox.tiers import UNSAFE

STARTUP_S = 60.0
#: How long after its limit a run may be reported; where it is not, the slot or its machine is in trouble.
REPORT_GRACE_S = 20.0
STOP_S = 10.0
STACK_BYTES = 64 * 1024**2

_ROOT = Path(__file__).resolve().parents[3]
_START = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from tracelift_ray.verification.sandbox.inside.fork_server import start; start()"
)
#: Hashes do not differ from slot to slot, so neither do programs that depend on the order of a set.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    # Else each program would bind the functions of libraries again, in memory that has to be copied for it.
    "LD_BIND_NOW": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class ProcessEnd:
    """How one process of a run ended.

    Attributes:
        exit_code: negative for a signal, as in ``subprocess``.
        killed: whether the fork server sent it SIGKILL.
        cpu_s, peak_kib: CPU seconds, and the largest resident size in KiB.
        report: what it said of itself before the program ran; see ``inside.confine``.
    """

    exit_code: int
    killed: bool
    cpu_s: float
    peak_kib: int
    report: str


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        processes: the program's process, then, in a function test, that of the tests.
        killed_for: ``cpu`` or ``wall`` for a limit, ``over`` where the tests were done, empty where all ended.
        wall_s: seconds from the first process to the last.
        starved: whether the machine kept the program from running until the extended limit, too, had passed.
    """

    processes: tuple[ProcessEnd, ...]
    killed_for: str
    wall_s: float
    starved: bool


class Slot:
    """A fork server under a policy. ``start`` it from a thread that lives as long as the slot is to live.

    Attributes:
        cores: those that it is pinned to; empty: not pinned.
        broken: whether it has to be replaced; set where ``NoVerdict`` was raised.
    """

    def __init__(self, policy: Policy, config: SandboxConfig, cores: tuple[int, ...] = ()) -> None:
        self.policy = policy
        self.config = config
        self.broken = False
        self.cores = cores
        self._runs = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._server: int | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The fork server's process id as this process sees it, or None where it does not run."""
        return None if self._server is None else host_pid(self._server)

    def start(self) -> None:
        """Start the fork server and wait until it serves. Raises ``NoVerdict`` with the reason why it does not."""
        try:
            self._start()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.stop()
            raise NoVerdict(f"a sandbox slot did not start ({error})") from error
        except NoVerdict:
            self.stop()
            raise

    def execute(self, job: dict[str, Any], descriptors: Sequence[int]) -> Ending:
        """One run; see ``inside.fork_server``.

        Args:
            job: its limits, and for how many tests they are.
            descriptors: payload, stdin, stdout, stderr; then, for a whole program, the file for its code, and for
                function tests the tests' payload and results.

        Raises:
            NoVerdict: there is no ending that says anything about the program.
        """
        self._runs += 1
        number = self._runs
        try:
            self._send({**job, "id": number}, descriptors)
            return self._ending(number, job["wall_s"])
        except (OSError, ValueError, KeyError) as error:
            self.broken = True
            raise NoVerdict(f"a sandbox slot failed ({type(error).__name__}: {error})") from error
        except NoVerdict:
            self.broken = True
            raise

    def kill(self) -> None:
        """End the fork server at once; a run in progress, in another thread, raises ``NoVerdict``."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._server, signal.SIGKILL)

    def stop(self) -> None:
        """End the fork server and all that it started; waits until they are gone. No run is in progress."""
        if self._server is not None:
            self.kill()
            select.select([self._server], [], [], STOP_S)
            os.close(self._server)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._control is not None:
            self._control.close()
        if self._directory is not None:
            self._directory.cleanup()
        self._server = self._process = self._control = self._directory = None

    def _start(self) -> None:
        directory = "/"
        if self.policy.tier == UNSAFE:
            self._directory = tempfile.TemporaryDirectory(prefix="tracelift-", ignore_cleanup_errors=True)
            directory = self._directory.name
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(STARTUP_S)
        start, control = _START.format(root=str(_ROOT)), str(theirs.fileno())
        with theirs, tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                [interpreter(self.config.packages).executable, *FLAGS, "-c", start, control, str(STACK_BYTES)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            theirs.close()
            self._send(slot_message(self.policy, self.config, directory, self.cores))
            ready = self._receive()
            if "map" in ready:
                self._map_ids(self._process.pid)
                ready = self._receive()
            if "ready" not in ready:
                output.seek(0)
                said = output.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise NoVerdict(ready.get("failed") or said or "its process ended without a message")

    @property
    def _channel(self) -> socket.socket:
        if self._control is None:
            raise NoVerdict("a sandbox slot was used that does not run")
        return self._control

    def _map_ids(self, pid: int) -> None:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(id_map())
        self._channel.send(MAPPED)

    def _ending(self, number: int, wall_s: float) -> Ending:
        clock, starved = WallClock(wall_s), False
        self._await_within(wall_s)
        while True:
            message = self._receive()
            if "failed" in message:
                raise NoVerdict(f"a program could not be started ({message['failed']})")
            if message.get("late") == number:
                extension = clock.extension(kept_waiting(message["descriptors"]))
                starved = extension.starved
                self._channel.send(f"{extension.seconds:.3f}".encode())
                self._await_within(wall_s + extension.seconds)
            elif message.get("tick") == number:
                clock.next_test()
                self._await_within(wall_s)
            elif message.get("id") == number:
                ends = tuple(ProcessEnd(**each) for each in message["processes"])
                return Ending(ends, message["killed_for"], message["wall_s"], starved)
            elif not message:
                raise NoVerdict("the fork server of a sandbox slot died; check the memory of its machine")
            else:
                raise NoVerdict("the fork server of a sandbox slot answered another run")

    def _await_within(self, wall_s: float) -> None:
        """Set how long the next message may take: ``wall_s`` and some grace."""
        self._channel.settimeout(wall_s + REPORT_GRACE_S)

    def _send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        socket.send_fds(self._channel, [json.dumps(message).encode()], list(descriptors))

    def _receive(self) -> dict[str, Any]:
        """The next message, with ``descriptors`` where some came; empty where the server is gone.

        The server's own process descriptor, which comes with ``ready``, is kept.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE, 4)
        except TimeoutError:
            limit = self._channel.gettimeout()
            raise NoVerdict(
                f"a sandbox slot gave no answer within {limit:g} s; check the load of its machine"
            ) from None
        message: dict[str, Any] = json.loads(data) if data else {}
        if "ready" in message:
            (self._server,) = descriptors
        else:
            message |= {"descriptors": descriptors} if descriptors else {}
        return message
