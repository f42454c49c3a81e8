"""A language model that the stages of a build ask, in this process or behind a server.

Promises: one answer for one request; what cannot be answered raises, and a request is tried again only where the
engine itself does so.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from tracelift_ray.config.models import JudgeConfig
from tracelift_ray.engines.kinds import build_engine, served_model
from tracelift_ray.engines.seeds import request_seed
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring.judge import request_renderer
from tracelift_ray.types import SamplingParams

#: How many times ``remote.timeout_s`` a request may take, further tries and the wait for other requests included.
_PATIENCE = 20.0


class RequestTooLong(Exception):
    """The request and its reply do not fit the model's context."""


class AskedModel:
    """The model that ``config`` names; started and ended by ``async with``. Each request's seed follows from ``seed``
    and the request."""

    def __init__(self, config: JudgeConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._engine = build_engine(config.engine, config.model, remote=config.remote, seed=seed)
        self._deadline_s = _PATIENCE * config.remote.timeout_s

    def identity(self) -> dict[str, Any]:
        """What an answer depends on beside the request: the model, and how it samples."""
        config = self._config
        return {"model": served_model(config), "prompt": config.prompt, "sampling": asdict(config.sampling)}

    async def ask(self, request: str, *, greedy: bool = False, attempt: int = 0) -> str:
        """The model's reply to one request.

        A greedy one is the likeliest, the same every time. ``attempt`` counts the tries of a sampled request, so that
        each is another one.

        Raises:
            RequestTooLong: request and reply do not fit the context.
            InfrastructureError: there is no reply.
        """
        sampling = self._config.sampling
        params = SamplingParams(
            sampling.max_new_tokens,
            0.0 if greedy else sampling.temperature,
            1.0 if greedy else sampling.top_p,
            seed=request_seed(self._seed, "groups", request, attempt) if sampling.seeded and not greedy else None,
        )
        try:
            async with asyncio.timeout(self._deadline_s):
                (completion,) = await self._engine.generate(self._render(request), params)
        except InfrastructureError as error:
            raise InfrastructureError("llm", error.cause) from error
        except TimeoutError as error:
            cause = f"no reply within {self._deadline_s:g} s: check the load of the model, or lower concurrency"
            raise InfrastructureError("llm", cause) from error
        except ValueError as error:
            raise RequestTooLong(str(error)) from error
        return completion.text

    async def __aenter__(self) -> AskedModel:
        self._render, _ = await asyncio.to_thread(request_renderer, self._config)
        try:
            await self._engine.start()
        except InfrastructureError as error:
            await self._engine.close()
            raise InfrastructureError("llm", error.cause) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._engine.close()
