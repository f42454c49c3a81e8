"""An engine of vLLM's AsyncLLM, on its CPU and GPU builds, that takes new weights while it generates.

Requests in flight during a weight update are frozen, lose their cache, are prefilled again under the new weights and go
on; their completions name both versions. After a failed update the engine serves nothing: it is shut down and every
request, waiting or new, gets ``ComponentDead``. An engine that sleeps has its weights' memory back before new weights
come, and its cache's memory when it wakes.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any

from tracelift_ray.engines.base import EngineKind, EngineRequest, check_context, check_transfer
from tracelift_ray.engines.stops import special_stops, with_special_stop
from tracelift_ray.engines.vllm_arguments import (
    ADAPTER_RANKS,
    adapter_request,
    engine_arguments,
    set_environment,
    to_vllm,
)
from tracelift_ray.engines.vllm_extra import check_extra
from tracelift_ray.engines.vllm_requests import samples, unless_dead
from tracelift_ray.engines.vllm_stats import CacheStats
from tracelift_ray.errors import ComponentDead, InfrastructureError, TransferBroken
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt
from tracelift_ray.transfer.vllm_delta import prepared
from tracelift_ray.types import Completion, Prompt, SamplingParams

if TYPE_CHECKING:
    from vllm import SamplingParams as VllmSamplingParams
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

    from tracelift_ray.config.models import EngineConfig
    from tracelift_ray.config.schema import LoraConfig

COMPONENT = "vllm engine"


class Memory(Enum):
    """What an engine holds of its GPU: all; nothing; room for weights that are still to come; weights but no cache."""

    HELD = "held"
    FREED = "freed"
    ROOM = "room"
    WEIGHTS = "weights"


class VllmEngine:
    """See the module and ``Engine``.

    Args:
        transfer: how new weights will come; None for a frozen model.
        seed: of requests without a seed.
        sleeps: whether ``sleep`` will be called.
        adapter: what new weights will be, where not all.
    """

    def __init__(
        self,
        config: EngineConfig,
        model: str,
        *,
        transfer: str | None,
        seed: int,
        sleeps: bool = False,
        adapter: LoraConfig | None = None,
    ) -> None:
        self.version = 0
        self._config = config
        self._model = model
        self._transfer = transfer
        self._adapter = adapter
        self._seed = seed
        self._sleeps = sleeps
        self._memory = Memory.HELD
        self._llm: AsyncLLM | None = None
        self._stats = CacheStats()
        self._failure: asyncio.Future[InfrastructureError] | None = None
        self._ids = itertools.count()
        self._updating = asyncio.Lock()

    async def start(self) -> None:
        set_environment(self._config)
        self._failure = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._config.startup_s):
                await asyncio.to_thread(self._build)
                if self._transfer is not None:
                    await self._running().update_weight_version(str(self.version))
                if self._adapter is not None:
                    await self._running().collective_rpc("begin_adapter")
                await self.generate(Prompt((self._first_token(),), ""), SamplingParams(max_new_tokens=1))
        except TimeoutError as error:
            await self.close()
            raise InfrastructureError(
                COMPONENT,
                f"{self._model} did not answer within {self._config.startup_s:g} s: check the log above, free memory, "
                "and engine.startup_s",
            ) from error
        except (RuntimeError, OSError) as error:
            await self.close()
            raise InfrastructureError(COMPONENT, f"{self._model} did not start: {_one_line(error)}") from error

    def _build(self) -> None:
        """Start vLLM's engine; in a thread, because it blocks until the engine's processes are up."""
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = engine_arguments(
            self._config,
            self._model,
            transfer=self._transfer,
            seed=self._seed,
            sleeps=self._sleeps,
            adapter=self._adapter,
        )
        loggers: list[Any] = [self._stats.factory]  # by what it does, not by its base, which would import vLLM early
        self._llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), stat_loggers=loggers)
        if self._failure is not None and self._failure.done():  # ``start`` has given up
            self._llm.shutdown()
            self._llm = None

    def _first_token(self) -> int:
        tokenizer = self._running().get_tokenizer()
        return next(token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, 0) if token is not None)

    def _running(self) -> AsyncLLM:
        if self._failure is not None and self._failure.done():
            raise self._failure.result()
        if self._llm is None:
            raise InfrastructureError(COMPONENT, "the engine is not running")
        return self._llm

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        llm = self._running()
        check_context(prompt, params, self._config.max_model_len)
        assert self._failure is not None  # set by start, as the running engine was
        specials = special_stops(llm.get_tokenizer(), params.stop)
        asked = to_vllm(params, tuple(specials))
        request = asyncio.ensure_future(self._request(llm, prompt, asked, params.until))
        try:
            waited: set[asyncio.Future[Any]] = {request, self._failure}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise self._failure.result()
            outputs = request.result()
        finally:
            request.cancel()
        return [self._completion(output, params, specials) for output in sorted(outputs, key=lambda each: each.index)]

    async def _request(
        self, llm: AsyncLLM, prompt: Prompt, params: VllmSamplingParams, until: str
    ) -> list[CompletionOutput]:
        from vllm.inputs import TokensPrompt
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        def ask(params: VllmSamplingParams) -> AsyncIterator[RequestOutput]:
            tokens = TokensPrompt(prompt_token_ids=list(prompt.token_ids))
            adapter = None if self._adapter is None else adapter_request()
            return llm.generate(tokens, params, f"r{next(self._ids)}", lora_request=adapter)

        try:
            return await samples(ask, params, until)
        except EngineDeadError as error:
            raise ComponentDead(COMPONENT, f"the engine died: {_one_line(error)}") from error
        except EngineGenerateError as error:
            raise InfrastructureError(COMPONENT, f"the engine failed: {_one_line(error)}") from error

    def _completion(self, output: CompletionOutput, params: SamplingParams, specials: dict[int, str]) -> Completion:
        if output.finish_reason == "abort":  # not by us, who do not wait for what we abort
            raise ComponentDead(COMPONENT, "the engine aborts its requests: its process received a signal to end")
        if output.finish_reason not in ("stop", "length"):
            raise InfrastructureError(COMPONENT, f"a request ended as {output.finish_reason!r}")
        ids = tuple(output.token_ids)
        spans = output.weight_versions if self._transfer is not None else None
        return Completion(
            token_ids=ids,
            text=with_special_stop(output.text, ids, specials),
            finish_reason="length" if output.finish_reason == "length" else "stop",
            logprobs=_logprobs(output, ids) if params.logprobs else None,
            oldest_version=int(spans[0].version) if spans else self.version,
            newest_version=int(spans[-1].version) if spans else self.version,
        )

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        check_transfer(self._transfer, manifest, self._adapter)
        async with self._updating:
            llm = self._running()
            try:
                async with asyncio.timeout(manifest.deadline_s):
                    workers = await unless_dead(llm, self._replace(llm, manifest))
            except TransferBroken:  # frozen with some of the new weights, until they are sent again
                raise
            except BaseException as error:  # weights that may be half replaced are not served
                failure = ComponentDead(COMPONENT, _transfer_failure(manifest, error))
                self._fail(failure)
                if not isinstance(error, Exception):
                    raise
                raise failure from error
            self.version = manifest.version
            return WeightReceipt(manifest.version, workers[0], workers)

    async def _replace(self, llm: AsyncLLM, manifest: WeightManifest) -> tuple[str, ...]:
        """Freeze, load, check, continue. The checksum that each worker took."""
        if manifest.change is not None:
            await prepared(llm, manifest)
        if self._memory is Memory.FREED:
            await llm.wake_up(["weights"])
            self._memory = Memory.ROOM
        # Not ``llm.pause_generation``, which then sleeps 20 ms for outputs that are on their way: a completion names
        # the versions that wrote it, whenever it comes.
        await llm.engine_core.pause_scheduler_async(mode="keep", clear_cache=True)
        taken = await llm.collective_rpc("take_weights", args=(manifest.fields(),))
        broken = [why for _, why in taken if why]
        if broken:
            raise TransferBroken(COMPONENT, broken[0])
        finished = llm.finish_weight_update if manifest.adapter is None else llm.update_weight_version
        await finished(str(manifest.version))
        workers = tuple(checksum for checksum, _ in taken)
        if len(set(workers)) != 1:
            raise InfrastructureError(COMPONENT, f"its workers hold different weights: {', '.join(workers)}")
        if self._memory is Memory.HELD:
            await llm.resume_generation()
        else:  # there is no cache to generate with until it wakes
            self._memory = Memory.WEIGHTS
        return workers

    async def sleep(self) -> None:
        async with self._updating:
            llm = self._running()
            # New weights replace a planner's before it generates again: keeping the old ones would take as much of the
            # machine's memory, and a copy there and back. A frozen model's would have to be read from disk again, as
            # would those below adapters.
            level = 1 if self._transfer is None or self._adapter is not None else 2
            await self._told(llm, llm.sleep(level, mode="keep"))
            self._memory = Memory.FREED

    async def wake(self) -> None:
        async with self._updating:
            llm = self._running()
            if self._memory is Memory.HELD:
                return
            if self._memory is not Memory.WEIGHTS and self._transfer is not None:
                raise ComponentDead(COMPONENT, "it has no weights: none were sent to it since it went to sleep")
            await self._told(llm, llm.wake_up(["kv_cache"] if self._memory is Memory.WEIGHTS else None))
            self._memory = Memory.HELD

    async def _told(self, llm: AsyncLLM, work: Coroutine[Any, Any, Any]) -> None:
        """Await a control call of vLLM. After an error it is unknown what the engine holds, and it serves no more."""
        try:
            await unless_dead(llm, work)
        except Exception as error:  # whichever it is, the engine is given up, and the error goes on as its cause
            failure = ComponentDead(COMPONENT, f"it could not sleep or wake: {_one_line(error)}")
            self._fail(failure)
            raise failure from error

    async def health(self) -> None:
        llm = self._running()
        if llm.errored:
            raise ComponentDead(COMPONENT, f"the engine died: {_one_line(llm.dead_error)}")
        # The core's own answer; ``llm.check_health`` only looks at what this process has noticed.
        await unless_dead(llm, llm.engine_core.is_scheduler_paused_async())

    def _fail(self, failure: InfrastructureError) -> None:
        """Serve nothing any more: end every waiting request and the engine's processes."""
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(failure)
        if self._llm is not None:
            self._llm.shutdown()
            self._llm = None

    def figures(self) -> dict[str, float]:
        return self._stats.read()

    async def close(self) -> None:
        self._fail(InfrastructureError(COMPONENT, "the engine was closed"))
        gc.collect()  # vLLM's engine complains when it is collected as late as at the interpreter's end


def _logprobs(output: CompletionOutput, ids: tuple[int, ...]) -> tuple[float, ...]:
    """The log-probs of exactly the emitted tokens."""
    entries = [entry or {} for entry in output.logprobs or ()]
    if len(entries) != len(ids) or any(token not in entry for token, entry in zip(ids, entries, strict=True)):
        raise InfrastructureError(COMPONENT, "the log-probs of a sample do not match its tokens")
    return tuple(entry[token].logprob for token, entry in zip(ids, entries, strict=True))


def _transfer_failure(manifest: WeightManifest, error: BaseException) -> str:
    if isinstance(error, InfrastructureError):
        return error.cause
    if isinstance(error, TimeoutError):
        return (
            f"waited {manifest.deadline_s:g} s for version {manifest.version} by {manifest.backend}: check that the "
            "learner is sending, or raise stream.broadcast_deadline_s"
        )
    return f"version {manifest.version} by {manifest.backend} did not arrive: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def _build(request: EngineRequest) -> VllmEngine:
    return VllmEngine(
        request.config,
        request.model,
        transfer=request.transfer,
        seed=request.seed,
        adapter=request.adapter,
        sleeps=request.sleeps,
    )


KIND = EngineKind(
    build=_build,
    local=True,
    transfers=("shared_memory", "collective", "ipc"),
    logprobs=True,
    request_seeds=True,
    patterns=True,
    tensor_parallel=True,
    fixed_cache=True,
    sleeps=True,
    adapter_transfers=("shared_memory", "collective"),
    adapter_rank=ADAPTER_RANKS[-1],
    check_extra=check_extra,
)
