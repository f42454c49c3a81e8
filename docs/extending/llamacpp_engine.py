"""An engine: a frozen executor behind llama.cpp's server (``POST /completion``).

It declares that it is a client of a server, so it needs no weights here and cannot be trained. To install it: copy it
to ``tracelift_ray/engines/llamacpp_engine.py``, add ``"llamacpp": llamacpp_engine.KIND`` to ``ENGINES`` in
``engines/kinds.py``, and choose it by ``executor=openai executor.engine.kind=llamacpp
executor.remote.base_url=http://HOST:PORT``. Tried against a stand-in for the server, not against llama.cpp.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tracelift_ray.engines.base import EngineKind, EngineRequest
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import Completion, Prompt, SamplingParams

if TYPE_CHECKING:
    from tracelift_ray.config.models import RemoteConfig
    from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt

COMPONENT = "llama.cpp"


class LlamaCppEngine:
    """See the module and ``engines.base.Engine``."""

    def __init__(self, remote: RemoteConfig) -> None:
        import aiohttp

        self.version = 0
        self._remote = remote
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=remote.timeout_s))
        self._slots = asyncio.Semaphore(remote.concurrency)

    async def start(self) -> None:
        await self.health()

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        if params.logprobs:
            raise ValueError("this server's log-probs are not those of its sampling: it serves no planner")
        return list(await asyncio.gather(*(self._sample(prompt, params, index) for index in range(params.n))))

    async def _sample(self, prompt: Prompt, params: SamplingParams, index: int) -> Completion:
        """One sample. Every sampling field is sent: the server would fill in its own."""
        fields: dict[str, Any] = {
            "prompt": list(prompt.token_ids),
            "n_predict": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "stop": list(params.stop),
            "seed": -1 if params.seed is None else params.seed + index,
            "return_tokens": True,
        }
        async with self._slots:
            answer = await self._ask("POST", "/completion", fields)
        try:
            cut = answer["stop_type"] == "limit"
            return Completion(tuple(answer["tokens"]), answer["content"], "length" if cut else "stop")
        except (KeyError, TypeError) as error:
            raise InfrastructureError(COMPONENT, f"the server's answer cannot be read: no {error}") from error

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The server's JSON. A request without an answer is a failure of the machine, never a completion."""
        import aiohttp

        url = self._remote.base_url.rstrip("/") + path
        try:
            async with self._session.request(method, url, json=body) as answer:
                answer.raise_for_status()
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise InfrastructureError(COMPONENT, f"{url}: {error or type(error).__name__}") from error

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        raise TypeError("a remote server takes no weights from us: use a local engine for the planner")

    async def sleep(self) -> None:
        """The model is on the server."""

    async def wake(self) -> None:
        """It never slept."""

    async def health(self) -> None:
        await self._ask("GET", "/health")

    def figures(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        await self._session.close()


def _build(request: EngineRequest) -> LlamaCppEngine:
    assert request.remote is not None
    return LlamaCppEngine(request.remote)


KIND = EngineKind(build=_build, local=False, transfers=(), logprobs=False, request_seeds=True, tensor_parallel=False)
