"""Scores traces with a service elsewhere that speaks the scoring protocol.

Whatever waits goes together in one request. A failure that may pass (no connection, too late, busy, an answer that
cannot be read) is tried again with growing, jittered pauses until the deadline; what is no score in the end is an
infrastructure error and never a number.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import NoReturn

import aiohttp
import tenacity

from tracelift_ray.config.models import ScoringServiceConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring.gathering import Gatherer
from tracelift_ray.reasoning_rm.service.protocol import UnreadableAnswer, read_answer, write_request
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.types import Problem, RubricScore

COMPONENT = "reasoning_rm"
#: Statuses that another try may not meet again, beside all from 500 on.
PASSING_STATUS = (408, 425, 429)
MAX_ANSWER_BYTES = 16 * 2**20
LONGEST_PAUSE_S = 15.0
_PROBE = (Problem("probe", MathTask.name, "What is 2 + 3?", task_type="arithmetic"), "Add 3 to 2.")


class _Passing(Exception):
    """A failure that may pass."""


class RemoteScorer:
    """Implements ``kinds.TraceScorer``. A score has neither labels nor a separate total: total and q are one.

    Args:
        max_length: the cut in tokens that is asked for.

    Raises:
        ValueError: the key's variable is not in the environment.
    """

    def __init__(self, service: ScoringServiceConfig, max_length: int) -> None:
        self._service = service
        self._max_length = max_length
        self._started = False
        self._headers = {"Content-Type": "application/json"}
        if service.api_key_env:
            key = os.environ.get(service.api_key_env)
            if not key:
                right = f"set {service.api_key_env}, or empty api_key_env"
                raise ValueError(f"the scoring service's key is not in the environment: {right}")
            self._headers["Authorization"] = f"Bearer {key}"

    async def start(self) -> None:
        """Ask for one score, so that a service that is not there is known before a run needs it."""
        timeout = aiohttp.ClientTimeout(total=self._service.timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        self._gatherer: Gatherer[tuple[Problem, str], RubricScore] = Gatherer(
            self._request, batch_size=self._service.batch_size, batches=self._service.concurrency
        )
        self._started = True
        await self.score(*_PROBE)

    async def score(self, problem: Problem, reasoning: str, max_length: int | None = None) -> RubricScore:
        """The service's score of one trace; ``max_length`` has no effect here, every request asks for the same cut."""
        deadline_s = self._service.deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                return await self._gatherer.ask((problem, reasoning))
        except TimeoutError as error:
            raise InfrastructureError(
                COMPONENT,
                f"no score from {self._service.url} in {deadline_s:g} s, {self._gatherer.waiting} more traces waiting; "
                "check the service's load, or raise reasoning_rm.remote.deadline_s or concurrency",
            ) from error

    async def sleep(self) -> None:
        """The model is elsewhere."""

    async def wake(self) -> None:
        """It never slept."""

    def figures(self) -> dict[str, float]:
        """Sizes of the requests."""
        return self._gatherer.sizes() if self._started else {}

    async def close(self) -> None:
        """Close the connections; traces that still wait get an infrastructure error."""
        if self._started:
            await self._gatherer.close()
            await self._session.close()

    async def _request(self, items: Sequence[tuple[Problem, str]]) -> list[RubricScore]:
        """One request, tried again where that may help."""
        body = json.dumps(write_request(items, self._max_length, self._service.send_tests)).encode()
        tries = 1 + self._service.retries
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(tries) | tenacity.stop_after_delay(self._service.deadline_s),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE_S),
            retry=tenacity.retry_if_exception_type(_Passing),
            reraise=True,
        )
        try:
            scores: list[float] = await retrying(self._ask, body, len(items))
        except _Passing as error:
            self._fail(f"{error}, in up to {tries} tries; check that the service is up", error)
        return [RubricScore((), score, score) for score in scores]

    async def _ask(self, body: bytes, count: int) -> list[float]:
        """One try."""
        try:
            async with self._session.post(self._service.url, data=body, allow_redirects=False) as response:
                answer = await _read(response)
        except TimeoutError as error:
            raise _Passing(f"no answer within {self._service.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Passing(f"no connection ({error or type(error).__name__})") from error
        if response.status in PASSING_STATUS or response.status >= 500:
            raise _Passing(f"status {response.status} ({_excerpt(answer)})")
        if response.status != 200:
            self._fail(f"refused {count} traces with status {response.status} ({_excerpt(answer)})", None)
        try:
            return read_answer(answer, count)
        except UnreadableAnswer as error:
            raise _Passing(str(error)) from error

    def _fail(self, cause: str, error: Exception | None) -> NoReturn:
        raise InfrastructureError(COMPONENT, f"{self._service.url}: {cause}") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, unless there is no end to it."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _Passing(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
    return bytes(body)


def _excerpt(body: bytes) -> str:
    return " ".join(body[:300].decode(errors="replace").split()) or "no body"
