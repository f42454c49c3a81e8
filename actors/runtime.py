"""The Ray session of a run, and the environment of its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

import ray
from ray.exceptions import AuthenticationError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tenacity import retry, retry_if_exception_message, stop_after_attempt

from actors.session import own_session, temporary_files
from actors.telling import told_cause
from tracelift_ray.config.errors import last_line
from tracelift_ray.config.schema import ClusterConfig, RunConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.described_cluster import described_cluster
from tracelift_ray.planning.machine_memory import ACCELERATORS, with_own_memory
from tracelift_ray.planning.resources import ClusterResources, Node, local_resources, resources_of, total_cpus
from tracelift_ray.tracking.run_dir import RunDirectory, check_shared

MIB = 2**20
PROBE_S = 60.0
LISTENING_S = 10.0
TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token to what `ray get-auth-token` prints on the head"
)
#: How often a local Ray is started before that is given up.
STARTS = 3


def worker_environment(cpus: float, devices: Mapping[str, str]) -> dict[str, Any]:
    """Ray options of a worker: as many threads as it has CPUs, so that pools do not collide, and ``devices``."""
    threads = str(max(1, int(cpus)))
    variables = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    variables |= {**temporary_files(), **devices}
    return {"runtime_env": {"env_vars": variables}}


@contextlib.contextmanager
def connected(config: ClusterConfig, cpus_needed: float) -> Iterator[None]:
    """A Ray session inside the ``with``; a local one ends with all its processes.

    Raises:
        InfrastructureError: Ray does not come up, with what to check.
    """
    with connecting(config, cpus_needed) as connect:
        connect()
        yield


@contextlib.contextmanager
def connecting(config: ClusterConfig, cpus_needed: float) -> Iterator[Callable[[], None]]:
    """As ``connected``, once the function that this gives was called, from any thread; a local Ray starts before."""
    local = config.address == "local"
    with own_session() if local else contextlib.nullcontext(), ThreadPoolExecutor(1, "ray-start") as threads:
        # In a thread that outlives the session: Ray's processes end with the thread that started them.
        start = cache(partial(threads.submit, _connect, config, cpus_needed))
        if local:
            start()

        def connect() -> None:
            start().result()
            _hear_again()

        try:
            yield connect
        finally:
            wait([threads.submit(int)])  # comes after a start under way: what is half up could not be taken down
            ray.shutdown()


def _connect(config: ClusterConfig, cpus_needed: float) -> None:
    """Start Ray here (``local``) or join a cluster. Raises ``InfrastructureError`` with what to check."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if config.address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            start_here(
                num_cpus=config.num_cpus or max(1, int(cpus_needed + 0.999)),
                num_gpus=config.num_gpus or None,
                object_store_memory=config.object_store_mib * MIB,
                include_dashboard=config.dashboard,
                **quiet,
            )
        except Exception as error:  # Ray raises a bare Exception where its processes do not come up in time
            reason = " ".join(str(error).split())[:300]
            raise InfrastructureError(
                "cluster",
                f"Ray could not be started here ({reason}); check the load, memory and /tmp/ray of this machine",
            ) from error
        return
    join(config.address, **quiet)


def join(address: str, **options: Any) -> None:
    """Join a running cluster. What Ray's core writes meanwhile is shown only where it got in."""
    _check_listening(address)
    with tempfile.TemporaryFile() as noise:
        try:
            with _errors_into(noise), _own_signals():
                ray.init(address=address, **options)
        except AuthenticationError:
            raise InfrastructureError("cluster", f"no token for the Ray cluster at {address}; {TOKEN}") from None
        except ConnectionError as error:
            noise.seek(0)
            if b"InvalidAuthToken" in noise.read():
                cause = f"the Ray cluster at {address} refuses this client, its token is missing or wrong; {TOKEN}"
                raise InfrastructureError("cluster", cause) from None
            raise InfrastructureError(
                "cluster",
                f"no Ray cluster at cluster.address={address} ({last_line(str(error))}); start one with "
                "`ray start --head`, or use cluster=local",
            ) from None
        noise.seek(0)
        sys.stderr.write(noise.read().decode("utf-8", "replace"))


def _check_listening(address: str) -> None:
    """Raises InfrastructureError where nothing listens at HOST:PORT: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), LISTENING_S).close()
    except OSError as error:
        cause = f"nothing listens at {address} ({error.strerror or error}); start a cluster with `ray start --head`"
        raise InfrastructureError("cluster", cause) from None


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Inside the ``with`` Ray leaves SIGTERM to this process; its own handler would exit from within its core."""
    utils = ray._private.utils
    theirs = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        _hear_again()


def _hear_again() -> None:
    """Take SIGTERM back from Ray's core, which takes it for a crash. A thread that is not the main one leaves this."""
    heard = signal.getsignal(signal.SIGTERM)
    if heard is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, heard)


@contextlib.contextmanager
def _errors_into(file: IO[bytes]) -> Iterator[None]:
    """Inside the ``with``, what this process writes to its standard error, compiled code included, goes to ``file``."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@retry(
    stop=stop_after_attempt(STARTS), retry=retry_if_exception_message(match=".*timed out during startup"), reraise=True
)
def start_here(**options: Any) -> None:
    """Start a local Ray. It gives its own processes half a minute, which a busy machine may not keep the first time."""
    ray.shutdown()
    with _own_signals():
        ray.init(address="local", **options)


def cluster_resources(run: RunConfig) -> ClusterResources:
    """What a run would have in all: of this machine, without starting Ray, or of the cluster that is running."""
    if run.cluster.describe:
        return described_cluster(run.cluster.describe)
    if run.cluster.address == "local":
        return with_own_memory(local_resources(run))
    with connected(run.cluster, total_cpus(run)):
        return _resources()


def _resources() -> ClusterResources:
    return resources_of(live_nodes())


def live_nodes() -> list[Node]:
    """The nodes of the cluster that are alive, the largest first, with what each has in all."""
    nodes = []
    for node in ray.nodes():
        if node["Alive"]:
            name, has = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})", node["Resources"]
            kinds = [key.partition(":")[2] for key in has if key.startswith("accelerator_type:")]
            gpu_gib = ACCELERATORS.get(kinds[0]) if kinds else None
            # What Ray divides of a node's memory, its object store apart.
            memory_gib = (has["memory"] + has.get("object_store_memory", 0.0)) / 2**30 if "memory" in has else None
            nodes.append(Node(name, has.get("CPU", 0.0), int(has.get("GPU", 0.0)), gpu_gib, memory_gib))
    return sorted(nodes, key=lambda node: (-node.gpus, -node.cpus, node.name))


async def probe_run_dir(directory: RunDirectory) -> None:
    """Check that every node sees the driver's run directory and can write in it; all look at it at the same time.

    Raises:
        InfrastructureError: a node does not answer.
        RunDirectoryError: names the node and what is wrong there.
    """
    await asyncio.gather(*(_probe_run_dir(directory, node) for node in ray.nodes() if node["Alive"]))


async def _probe_run_dir(directory: RunDirectory, node: Mapping[str, Any]) -> None:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    probe = ray.remote(num_cpus=0)(check_shared).options(scheduling_strategy=there)
    try:
        await asyncio.wait_for(probe.remote(directory.path, directory.run_id), PROBE_S)
    except RayTaskError as error:
        raise told_cause(error) from None
    except TimeoutError:
        cause = f"{node['NodeManagerAddress']} did not look at {directory.path} in {PROBE_S:g} s"
        raise InfrastructureError("cluster", f"{cause}; check its load and that file system") from None


def log_places() -> str:
    """Where actors write their logs, in words: each on its own node, under the same path."""
    here = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"  # type: ignore[attr-defined]
    others = sum(node["Alive"] for node in ray.nodes()) - 1
    if not others:
        return f"their logs are in {here}"
    elsewhere = "the other node has" if others == 1 else f"the {others} other nodes have"
    return f"on this node their logs are in {here}; {elsewhere} theirs in the same folder (`ray logs` shows all)"
