"""The scoring service: ``POST /score`` in the protocol of ``protocol.py``, ``GET /health`` and ``GET /metrics``.

Concurrent requests are scored together, off the event loop. What is too large, malformed or too much is refused with
one line that says why, and no failure becomes a score: the answer then has an error status and no scores. Once
``drain`` is called the service takes nothing new and answers what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring.kinds import TraceScorer
from tracelift_ray.reasoning_rm.service.protocol import RequestRefused, ScoringRequest, read_request, write_answer
from tracelift_ray.types import RubricScore

KIB = 1024
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class ServiceLimits:
    """What the service takes.

    Attributes:
        task: of items that name none.
        max_body_kib: size of one request.
        max_items: traces of one request.
        max_waiting: traces of all requests together that are not answered yet; above it requests are turned away.
        timeout_s: seconds for one request.
    """

    task: str
    max_body_kib: int
    max_items: int
    max_waiting: int
    timeout_s: float


class ScoringService:
    """Answers requests with the scores of ``scorer``. ``description`` is what ``/health`` says of it."""

    def __init__(self, scorer: TraceScorer, limits: ServiceLimits, description: dict[str, str]) -> None:
        self._scorer = scorer
        self._limits = limits
        self._description = description
        self._waiting = 0
        self._draining = False
        self._metrics = _Metrics()

    def application(self) -> web.Application:
        """The service as an aiohttp application."""
        application = web.Application(client_max_size=self._limits.max_body_kib * KIB, middlewares=[_plain_errors])
        application.router.add_post("/score", self._score)
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._show_metrics)
        return application

    def drain(self) -> None:
        """From now on turn every new request away."""
        self._draining = True

    async def _score(self, request: web.Request) -> web.Response:
        began = monotonic()
        try:
            response = web.json_response(await self._answer(request))
        except RequestRefused as error:
            response = _error(error.status, str(error))
        self._metrics.requests.labels(str(response.status)).inc()
        self._metrics.seconds.observe(monotonic() - began)
        return response

    async def _answer(self, request: web.Request) -> dict[str, object]:
        if self._draining:
            raise RequestRefused(503, "the service is shutting down; ask another one")
        try:
            async with asyncio.timeout(self._limits.timeout_s):  # wait_for of Python 3.11 can lose a cancellation
                body = await request.read()
            asked = read_request(body, self._limits.max_items, self._limits.task)
        except TimeoutError as error:
            raise RequestRefused(408, f"the body did not come in {self._limits.timeout_s:g} s") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise RequestRefused(
                413, f"the body is larger than {self._limits.max_body_kib} KiB; send it in parts"
            ) from error
        count = len(asked.items)
        if self._waiting + count > self._limits.max_waiting:
            raise RequestRefused(503, f"busy: {self._waiting} traces are waiting; try again later")
        self._waiting += count
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                scores = await self._scores(asked)
        except TimeoutError as error:
            late = f"{count} traces were not scored in {self._limits.timeout_s:g} s; send fewer, or try again later"
            raise RequestRefused(504, late) from error
        except InfrastructureError as error:
            raise RequestRefused(500, str(error)) from error
        finally:
            self._waiting -= count
        self._metrics.traces.inc(count)
        self._metrics.truncated.inc(sum(score.truncated for score in scores))
        return write_answer(asked, scores)

    async def _scores(self, asked: ScoringRequest) -> list[RubricScore]:
        """All scores, ``batch_size`` traces at a time. What fails or is given up takes the others with it."""
        size = asked.batch_size or len(asked.items)
        scores: list[RubricScore] = []
        for start in range(0, len(asked.items), size):
            scoring = [
                asyncio.ensure_future(self._scorer.score(problem, reasoning, asked.max_length))
                for problem, reasoning in asked.items[start : start + size]
            ]
            try:
                scores += await asyncio.gather(*scoring)
            finally:
                for task in scoring:
                    task.cancel()
        return scores

    async def _health(self, request: web.Request) -> web.Response:
        status = "draining" if self._draining else "ok"
        body = {"status": status, **self._description, "waiting": self._waiting}
        return web.json_response(body, status=503 if self._draining else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        self._metrics.waiting.set(self._waiting)
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": PROMETHEUS_TEXT})


class _Metrics:
    """What ``/metrics`` shows, in a separate registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "tracelift_rm"
        self.requests = Counter(f"{name}_requests", "Requests to /score by status.", ["status"], registry=registry)
        self.seconds = Histogram(
            f"{name}_request_seconds", "Seconds from request to answer.", buckets=_SECONDS, registry=registry
        )
        self.traces = Counter(f"{name}_traces", "Traces scored.", registry=registry)
        self.truncated = Counter(f"{name}_truncated", "Traces of which the end was not read.", registry=registry)
        self.waiting = Gauge(f"{name}_waiting", "Traces that are not answered yet.", registry=registry)


def _error(status: int, reason: str) -> web.Response:
    headers = {"Retry-After": "1"} if status == 503 else None
    return web.json_response({"error": reason}, status=status, headers=headers)


@web.middleware
async def _plain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """An unknown path or method is answered in JSON too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, f"{request.method} {request.path}: {error.reason}; there is POST /score")
