"""An engine without vLLM: one thread runs a transformers model over a continuously changing batch.

For very small models it is the faster one, because a request costs almost nothing besides its tokens. Requests that
come while the thread is between two tokens join the batch together. An error that ends the thread fails every request.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tracelift_ray.engines.base import EngineKind, EngineRequest, check_context, check_transfer
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt
from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader
from tracelift_ray.types import Completion, Prompt, SamplingParams

if TYPE_CHECKING:
    import torch

    from tracelift_ray.config.models import EngineConfig
    from tracelift_ray.config.schema import LoraConfig
    from tracelift_ray.engines.batch_decoder import BatchDecoder, Request
    from tracelift_ray.transfer.collective import Communicator
    from tracelift_ray.transfer.delta import Keeping

COMPONENT = "transformers engine"
#: Seconds that an idle thread waits for company after a first request.
WINDOW_S = 0.003


@dataclass(frozen=True)
class _Call:
    """Something to do between two tokens, and where its result goes."""

    work: Callable[[BatchDecoder], Any]
    answer: asyncio.Future[Any]


class TransformersEngine:
    """See the module and ``Engine``.

    Args:
        transfer: how new weights will come; None for a frozen model.
        adapter: what they will be, where not all weights.
        seed: of requests without a seed.
    """

    def __init__(
        self, config: EngineConfig, model: str, *, transfer: str | None, seed: int, adapter: LoraConfig | None = None
    ) -> None:
        self.version = 0
        self._config = config
        self._path = model
        self._transfer = transfer
        self._adapter = adapter
        self._seed = seed
        self._inbox: queue.SimpleQueue[Request | _Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: InfrastructureError | None = None
        self._waiting: set[asyncio.Future[Any]] = set()
        self._member: Communicator | None = None
        self._keeping: Keeping | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(ready)
        self._thread = threading.Thread(target=self._run, args=(ready,), name="transformers-engine", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._config.startup_s):
                await ready
        except TimeoutError as error:
            raise InfrastructureError(
                COMPONENT,
                f"{self._path} was not loaded within {self._config.startup_s:g} s: check the disk and engine.startup_s",
            ) from error
        finally:
            self._waiting.discard(ready)

    async def generate(
        self, prompt: Prompt, params: SamplingParams, watch: Callable[[tuple[int, ...]], None] | None = None
    ) -> list[Completion]:
        """As ``Engine.generate``; ``watch`` learns the tokens of the first sample while it is written."""
        from tracelift_ray.engines.batch_decoder import Request

        check_context(prompt, params, self._config.max_model_len)
        answer: asyncio.Future[list[Completion]] = self._answer()
        request = Request(prompt.token_ids, params, answer)
        if watch is not None:
            request.watch = partial(self._post, watch)
        self._inbox.put(request)
        try:
            return await answer
        finally:
            request.cancelled = not answer.done() or answer.cancelled()
            self._waiting.discard(answer)

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        check_transfer(self._transfer, manifest, self._adapter)
        put_in, checksum = await asyncio.to_thread(self._taken, manifest)
        answer: asyncio.Future[None] = self._answer()
        self._inbox.put(_Call(put_in, answer))
        try:
            async with asyncio.timeout(manifest.deadline_s):
                await answer
        except TimeoutError as error:
            failure = ComponentDead(
                COMPONENT,
                f"waited {manifest.deadline_s:g} s for version {manifest.version} to load: check this machine's load",
            )
            self._fail(failure)
            raise failure from error
        finally:
            self._waiting.discard(answer)
        self.version = manifest.version
        return WeightReceipt(manifest.version, checksum, (checksum,))

    async def sleep(self) -> None:
        """It is for small models, and stays awake."""

    async def wake(self) -> None:
        """It never slept."""

    async def health(self) -> None:
        if self._failure is not None:
            raise self._failure

    def figures(self) -> dict[str, float]:
        return {}  # its cache grows with the work

    async def close(self) -> None:
        self._fail(InfrastructureError(COMPONENT, "the engine was closed"))
        self._inbox.put(None)
        if self._member is not None:
            self._member.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 30.0)

    def _taken(self, manifest: WeightManifest) -> tuple[Callable[[BatchDecoder], None], str]:
        """What puts a version in place, and its checksum; the old weights are served meanwhile."""
        tensors, checksum = self._received(manifest)
        if not manifest.kept:
            return lambda decoder: decoder.load(tensors, manifest.version), checksum
        if self._keeping is None:
            from tracelift_ray.transfer.delta import Keeping

            self._keeping = Keeping(COMPONENT)
        if manifest.change is None:
            kept = list(self._keeping.whole(manifest, tensors))
            return lambda decoder: decoder.load(kept, manifest.version), self._keeping.checked(manifest)
        changed = self._keeping.changed(manifest, tensors)
        return lambda decoder: decoder.change(changed, manifest.version), manifest.change.checksum

    def _received(self, manifest: WeightManifest) -> tuple[list[tuple[str, torch.Tensor]], str]:
        """All tensors of a manifest, checked, and their checksum."""
        if manifest.channel is not None:
            from tracelift_ray.transfer.buckets import joined
            from tracelift_ray.transfer.collective import join_channel, receiver

            self._member = join_channel(manifest, 0, self._member)
            taking = receiver(manifest, self._member)
            return list(taking.tensors()), joined(taking.verify())
        reader = SharedMemoryReader(manifest, COMPONENT)
        try:
            return list(reader.tensors()), reader.verify()
        finally:
            reader.close()

    def _answer(self) -> asyncio.Future[Any]:
        if self._failure is not None:
            raise self._failure
        if self._loop is None:
            raise InfrastructureError(COMPONENT, "the engine is not running")
        answer = self._loop.create_future()
        self._waiting.add(answer)
        return answer

    def _fail(self, failure: InfrastructureError) -> None:
        """Fail every waiting call, and every later one."""
        self._failure = self._failure or failure
        for answer in list(self._waiting):
            if not answer.done():
                answer.set_exception(failure)

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self, ready: asyncio.Future[None]) -> None:
        assert self._loop is not None
        try:
            decoder = load_decoder(self._config, self._path, self._seed, self._adapter)
            self._post(_resolve, ready, None)
            while self._turn(decoder):
                pass
        except Exception as error:  # any error must reach the calls that wait for the thread
            message = f"{self._path}: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
            self._post(self._fail, ComponentDead(COMPONENT, message))

    def _turn(self, decoder: BatchDecoder) -> bool:
        """Take in what has come, then write one token of everything; False when the engine is closed."""
        for item in self._arrivals(wait=not decoder.busy):
            if item is None:
                return False
            if isinstance(item, _Call):
                self._post(_resolve, item.answer, item.work(decoder))
            else:
                decoder.add([item])
        for request in decoder.step():
            completions = [request.finished[index] for index in range(request.params.n)]
            self._post(_resolve, request.tag, completions)
        return True

    def _arrivals(self, wait: bool) -> list[Request | _Call | None]:
        items: list[Request | _Call | None] = []
        if wait:
            items.append(self._inbox.get())
            time.sleep(WINDOW_S)
        while True:
            try:
                items.append(self._inbox.get_nowait())
            except queue.Empty:
                return items

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)


def _resolve(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


def load_decoder(config: EngineConfig, path: str, seed: int, adapter: LoraConfig | None = None) -> BatchDecoder:
    """Load model and tokenizer; on a GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from tracelift_ray.engines.batch_decoder import BatchDecoder

    # Neither bars nor load reports among the lines of a command that loads a model in its own process.
    logging.disable_progress_bar()
    logging.set_verbosity_error()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=config.dtype, local_files_only=True)
    if adapter is not None:
        from tracelift_ray.lora.layers import add_adapters

        add_adapters(model, adapter, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    return BatchDecoder(model.to(device).eval(), tokenizer, max_rows=config.max_num_seqs, seed=seed)


def _build(request: EngineRequest) -> TransformersEngine:
    return TransformersEngine(
        request.config, request.model, transfer=request.transfer, seed=request.seed, adapter=request.adapter
    )


KIND = EngineKind(
    build=_build,
    local=True,
    transfers=("shared_memory", "collective"),
    logprobs=True,
    request_seeds=True,
    patterns=True,
    tensor_parallel=False,
    adapter_transfers=("shared_memory", "collective"),
    dora=True,
)
