"""Gathers requests that arrive one by one into batches: what arrived while a batch was under way goes together.

Nothing waits for a batch to fill. Every request that was taken gets an answer or an exception, also where its
batch fails, and a request whose caller has gone is not computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tracelift_ray.errors import InfrastructureError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gatherer(Generic[Item, Answer]):
    """Calls ``answer_all`` with batches, and each caller gets the answer to its own item.

    Args:
        answer_all: one answer for each item, in order.
        batch_size: items of one batch, at most.
        batches: how many batches are under way at a time.
    """

    def __init__(
        self, answer_all: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, batch_size: int, batches: int = 1
    ) -> None:
        self._answer_all = answer_all
        self._batch_size = batch_size
        self._queue: asyncio.Queue[tuple[Item, asyncio.Future[Answer]]] = asyncio.Queue()
        self._under_way: set[asyncio.Future[Answer]] = set()
        self._servers = [asyncio.create_task(self._serve()) for _ in range(batches)]
        self._closed = False
        self._batches = self._batched = 0

    @property
    def waiting(self) -> int:
        """Items that no batch has taken yet."""
        return self._queue.qsize()

    def sizes(self) -> dict[str, float]:
        """``batch_traces_mean``, the mean size of the batches since this was called last; absent without one."""
        batches, items, self._batches, self._batched = self._batches, self._batched, 0, 0
        return {"batch_traces_mean": items / batches} if batches else {}

    async def ask(self, item: Item) -> Answer:
        """The answer to one item. Raises what ``answer_all`` raises, and InfrastructureError once it is closed."""
        if self._closed:
            raise _closed()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((item, future))
        return await future

    async def close(self) -> None:
        """End what is under way; callers that still wait get an InfrastructureError."""
        self._closed = True
        for server in self._servers:
            server.cancel()
        await asyncio.gather(*self._servers, return_exceptions=True)
        left = [future for _, future in self._taken(self._queue.qsize())]
        for future in (*left, *self._under_way):
            if not future.done():
                future.set_exception(_closed())

    async def _serve(self) -> None:
        while True:
            first = await self._queue.get()
            batch = [each for each in (first, *self._taken(self._batch_size - 1)) if not each[1].done()]
            if not batch:
                continue
            self._batches, self._batched = self._batches + 1, self._batched + len(batch)
            self._under_way.update(future for _, future in batch)
            try:
                answers = await self._answer_all([item for item, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
            except Exception as error:  # a bug, too, belongs to those who asked: nobody awaits this task
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            self._under_way.difference_update(future for _, future in batch)

    def _taken(self, most: int) -> list[tuple[Item, asyncio.Future[Answer]]]:
        return [self._queue.get_nowait() for _ in range(min(most, self._queue.qsize()))]


def _closed() -> InfrastructureError:
    return InfrastructureError("reasoning_rm", "the scorer was closed before it answered")
