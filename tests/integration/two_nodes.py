"""Two Ray nodes on this machine, each with a ``/dev/shm`` and a temporary folder of its own, as two machines have."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.hang import HANG_S
from tests.integration.training_runs import ROOT
from tests.processes import marked
from tracelift_ray.training.ranks import free_port

RAY = str(Path(sys.executable).with_name("ray"))
#: Mount namespaces of our own: as root, or as an ordinary user who may make user namespaces.
APART = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
OBJECT_STORE = 100 * 2**20
#: Tries to start a node.
STARTS = 4


def can_be_apart() -> bool:
    """Whether this machine lets us mount something that only we see."""
    mounts = ["sh", "-c", "mount -t tmpfs none /dev/shm"]
    return subprocess.run([*APART, *mounts], capture_output=True).returncode == 0


class Node:
    """One node. Its processes carry a marker in their environment, by which they are found."""

    def __init__(self, folder: Path, address: str, environment: dict[str, str], arguments: Sequence[str]) -> None:
        self.marker = f"tracelift-test-{secrets.token_hex(16)}"
        self.log = folder / f"{address}.log"
        start = [RAY, "start", "--block", "--disable-usage-stats", f"--node-ip-address={address}", *arguments]
        mounts = f'mount -t tmpfs none /dev/shm && mount -t tmpfs none {folder} && exec "$@"'
        self.process = subprocess.Popen(
            [*APART, "sh", "-c", mounts, "sh", *start, f"--object-store-memory={OBJECT_STORE}"],
            env=environment | {"TRACELIFT_TEST_MARKER": self.marker},
            cwd=ROOT,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_up(self) -> bool:
        """Whether it comes up. Ray gives a node half a minute for that, which a busy machine may not keep."""
        ends = time.monotonic() + HANG_S
        while self.process.poll() is None and time.monotonic() < ends:
            if "Ray runtime started" in self.log.read_text():
                return True
            time.sleep(0.2)
        return False

    def inside(self, command: Sequence[str]) -> list[str]:
        """``command`` as one that runs on this node."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.process.pid}", "--mount", *user, f"--wd={ROOT}", *command]

    def kill(self) -> None:
        """End all of the node's processes at once, as a machine that loses its power does."""
        while found := marked(self.marker):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        self.process.wait()


@contextlib.contextmanager
def two_nodes(cpus: tuple[int, int]) -> Iterator[tuple[Node, Node, str, dict[str, str]]]:
    """The head and another node with so many logical CPUs, the cluster's address, and its clients' environment."""
    folder = Path(tempfile.mkdtemp(prefix="nodes-"))  # short: Ray's sockets are below it
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment |= {"PYTHONUNBUFFERED": "1"}  # what a node says is in its log at once
    # The head notices a dead node within seconds.
    environment |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "5"}
    address = f"127.0.0.1:{free_port()}"
    alone = ["--head", "--include-dashboard=false", f"--temp-dir={folder}", f"--port={address.partition(':')[2]}"]
    nodes: list[Node] = []

    def started(own: str, *arguments: str) -> Node:
        for _ in range(STARTS):
            nodes.append(Node(folder, own, environment, arguments))
            if nodes[-1].is_up():
                return nodes[-1]
            nodes[-1].kill()
        raise AssertionError(nodes[-1].log.read_text())

    try:
        head = started("127.0.0.1", *alone, f"--num-cpus={cpus[0]}")
        other = started("127.0.0.2", f"--address={address}", f"--num-cpus={cpus[1]}")
        _wait_until_up(head, environment, address, 2)
        yield head, other, address, environment
    finally:
        for node in reversed(nodes):
            node.kill()
        shutil.rmtree(folder)


def _wait_until_up(head: Node, environment: dict[str, str], address: str, nodes: int) -> None:
    """Return when so many nodes are alive."""
    script = (
        "import sys, ray\n"
        "ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')\n"
        "sys.exit(sum(node['Alive'] for node in ray.nodes()) < int(sys.argv[2]))\n"
    )
    ends = time.monotonic() + HANG_S
    while True:
        waiting = [sys.executable, "-c", script, address, str(nodes)]
        done = subprocess.run(head.inside(waiting), env=environment, capture_output=True, text=True, timeout=HANG_S)
        if done.returncode == 0:
            return
        assert time.monotonic() < ends and head.process.poll() is None, done.stderr[-2000:] + head.log.read_text()
        time.sleep(0.5)
