"""Real HTTP servers on loopback for the tests of scoring over a connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tracelift_ray.config.models import ScoringServiceConfig

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """The address of an application while it is served."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering(handler: Handler, path: str = "/score") -> AsyncIterator[str]:
    """The address of a service that answers every POST request with ``handler``."""
    application = web.Application()
    application.router.add_post(path, handler)
    async with serving(application) as address:
        yield f"{address}{path}"


def service_config(url: str, **changes: Any) -> ScoringServiceConfig:
    values = {
        "url": url,
        "api_key_env": "",
        "batch_size": 4,
        "concurrency": 2,
        "timeout_s": 2.0,
        "deadline_s": 5.0,
        "retries": 2,
        "send_tests": True,
    }
    return ScoringServiceConfig(**{**values, **changes})
