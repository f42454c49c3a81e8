"""The HTTP side of the SandboxFusion protocol: ``POST {url}/run_code``, one program in one request.

A request that fails for a reason that may pass (no connection, no answer in time, busy, an error of the service, an
answer that cannot be read) is tried again with growing, jittered pauses. What has no result in the end raises
``NoVerdict``; it is never a verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import aiohttp
import tenacity

from tracelift_ray.config.schema import CodeServiceConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.verification.errors import COMPONENT, NoVerdict

#: Statuses that another try may not meet again, beside all from 500 on.
PASSING_STATUS = (408, 425, 429)
LONGEST_PAUSE_S = 15.0
#: Seconds in which the loop beside opens, or ends all requests.
END_S = 10.0
_MIB = 2**20


@dataclass(frozen=True)
class RunResult:
    """How a program ended.

    Attributes:
        return_code: None where it ran into its time limit.
        stdout, stderr: what it wrote, as far as the service returns it.
        wall_s: seconds that it ran.
    """

    return_code: int | None
    stdout: str
    stderr: str
    wall_s: float


class _Passing(Exception):
    """A failure that may pass."""


class FusionClient:
    """Sends programs to the service, from any thread. One event loop in one thread bounds and ends the requests.

    Args:
        most_bytes: a longer answer is not read.
    """

    def __init__(self, service: CodeServiceConfig, most_bytes: int) -> None:
        self._service = service
        self._url = f"{service.url.rstrip('/')}/run_code"
        self._most_bytes = most_bytes
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox-fusion", daemon=True)
        self._thread.start()
        self._limit = asyncio.Semaphore(service.concurrency)
        self._session = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(END_S)

    def run(self, code: str, stdin: str, wall_s: float, memory_mib: int) -> RunResult:
        """The result of one program. Blocks for as long as the limits and the retries allow.

        Raises:
            NoVerdict: the service gave no result, or the client was closed.
        """
        if self._closed:
            raise InfrastructureError(COMPONENT, "the client of the code service was used after it was closed")
        request = {
            "code": code,
            "stdin": stdin,
            "language": "python",
            "compile_timeout": wall_s,
            "run_timeout": wall_s,
            "memory_limit_MB": memory_mib,
            "files": {},
            "fetch_files": [],
        }
        try:
            return asyncio.run_coroutine_threadsafe(self._run(request), self._loop).result()
        except CancelledError:
            raise NoVerdict("closed while a program was running") from None

    def close(self) -> None:
        """End all requests; those that wait raise NoVerdict."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):  # a connection that does not close ends with the process
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(END_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession()  # Has to be made in the loop.

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()

    async def _run(self, request: dict[str, Any]) -> RunResult:
        tries = 1 + self._service.retries
        patiently = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(tries),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE_S),
            retry=tenacity.retry_if_exception_type(_Passing),
            reraise=True,
        )
        try:
            async with self._limit:
                return await patiently(self._ask, request)
        except _Passing as error:
            cause = f"{self._url}: {error}, in {tries} tries; check that the service is up"
            raise NoVerdict(cause) from error

    async def _ask(self, request: dict[str, Any]) -> RunResult:
        """One try."""
        limit_s = request["run_timeout"] + self._service.timeout_s
        try:
            timeout = aiohttp.ClientTimeout(total=limit_s)
            async with self._session.post(self._url, json=request, timeout=timeout, allow_redirects=False) as response:
                answer = await self._read(response)
        except TimeoutError as error:
            raise _Passing(f"no answer within {limit_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Passing(f"no connection ({error or type(error).__name__})") from error
        if response.status in PASSING_STATUS or response.status >= 500:
            raise _Passing(f"status {response.status} ({_excerpt(answer)})")
        if response.status != 200:
            raise NoVerdict(f"{self._url}: refused a program with status {response.status} ({_excerpt(answer)})")
        return read_answer(answer)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body, up to the limit."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(2**16):
            body += chunk
            if len(body) > self._most_bytes:
                raise _Passing(f"an answer of more than {self._most_bytes // _MIB} MiB")
        return bytes(body)


def read_answer(answer: bytes) -> RunResult:
    """The result in an answer of the service. Raises _Passing where it holds none."""
    try:
        fields = json.loads(answer)
        status, run = fields["status"], fields["run_result"]
        if status not in ("Success", "Failed"):
            raise _Passing(f"the service failed ({status}: {' '.join(str(fields.get('message')).split())[:200]})")
        part = run if run is not None else fields["compile_result"]
        late, return_code = part["status"] == "TimeLimitExceeded", part["return_code"]
        if not late and (part["status"] != "Finished" or type(return_code) is not int):
            raise _Passing(f"the service could not run a program ({str(part['status'])[:100]})")
        output = str(part["stdout"] or ""), str(part["stderr"] or "")
        return RunResult(None if late else return_code, *output, float(part["execution_time"] or 0.0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Passing(f"an answer that is none ({type(error).__name__}: {_excerpt(answer)})") from error


def _excerpt(body: bytes) -> str:
    return " ".join(body[:300].decode(errors="replace").split()) or "no body"
