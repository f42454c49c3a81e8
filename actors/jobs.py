"""Ray's job server: the client of it, and whether a cluster can be reached at all. Its errors are one line each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import ray
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from actors.runtime import TOKEN, join, live_nodes
from tracelift_ray.config.errors import last_line
from tracelift_ray.errors import InfrastructureError

COMPONENT = "job server"
#: Seconds until an output that broke off is asked for again.
AGAIN_S = 5.0
#: For a connection; how long an answer takes depends on what is asked.
CONNECTED_S = 10.0


class _Client(JobSubmissionClient):
    """Ray's client, which else waits for minutes where packets are lost on the way."""

    def _do_request(self, *asked: Any, **options: Any) -> Any:
        return super()._do_request(*asked, timeout=(CONNECTED_S, None), **options)


@contextmanager
def told_of(address: str) -> Iterator[None]:
    """Inside the ``with``, what requests to a job server raise becomes one line.

    Raises:
        InfrastructureError: the server does not answer, refuses this client, or says no.
    """
    try:
        yield
    except AuthenticationError:
        cause = f"{address} refuses this client, its token is missing or wrong; {TOKEN}"
        raise InfrastructureError(COMPONENT, cause) from None
    except ConnectionError:
        cause = f"nothing answers at {address}; give that of a running head's dashboard, such as http://HEAD:8265"
        raise InfrastructureError(COMPONENT, cause) from None
    except (RuntimeError, OSError, ValueError) as error:
        raise InfrastructureError(COMPONENT, f"{address}: {last_line(str(error))}") from error


def job_server(address: str) -> JobSubmissionClient:
    """The client of a job server that answers and takes this client's token. Raises InfrastructureError."""
    for name in ("ray", *(kind.__module__ for kind in JobSubmissionClient.__mro__[:-1])):
        logging.getLogger(name).setLevel(logging.ERROR)  # they say what a package leaves out, and how connections end
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray takes what the environment says before what it is given
    with told_of(address):
        client = _Client(address)
        client.list_jobs()  # answers only with the right token; the version is public
    return client


def reached(address: str) -> str:
    """What answers at the address of a job server, or of Ray itself. Raises InfrastructureError."""
    if "://" in address:
        client = job_server(address)
        with told_of(address):
            return f"the job server at {address} answers, Ray {client.get_version()}"
    try:
        join(address, log_to_driver=False, logging_level="ERROR")
        nodes = live_nodes()
    finally:
        ray.shutdown()
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return f"the cluster at {address} answers: {len(nodes)} nodes, {cpus:g} CPUs, {gpus} GPUs"


async def followed(
    client: JobSubmissionClient, job: str, show: Callable[[str], None], lost: Callable[[str], None]
) -> JobDetails:
    """What became of a job, once it has ended and its output was shown.

    Ray's stream of the output also ends where the agent of the job's node restarts or the connection breaks, and a
    proxy may refuse it. It is asked for again until the job is over; each time it starts from the beginning.

    Args:
        show: gets the output as it comes, every character once.
        lost: gets the reason where the output breaks off, once until more of it comes.

    Raises what the client raises where it is asked for the job's status.
    """
    shown, told, over = 0, False, False
    while True:
        at, broken = 0, "the stream was closed"
        try:
            async for chunk in client.tail_job_logs(job):
                at += len(chunk)
                if at > shown:
                    show(chunk[shown - at :])
                    shown, told = at, False
            whole = True
        except (RuntimeError, OSError, aiohttp.ClientError) as error:
            whole, broken = False, last_line(str(error))
        details = await asyncio.to_thread(client.get_job_info, job)
        ended = details.status.is_terminal()
        if ended and (whole or over):  # what a broken stream kept back is asked for once more
            return details
        if not told:
            lost(broken)
        told, over = True, ended
        await asyncio.sleep(AGAIN_S)
