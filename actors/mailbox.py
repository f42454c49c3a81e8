"""Work for one actor in batches: what is asked in one turn of the event loop travels together, and so do the answers.

A call of its own costs the driver about half a millisecond in Ray, a call in a batch a small part of that. Answers do
not wait for each other: the actor hands out those that are ready whenever it is asked, and it is asked again at once.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import ray

from tracelift_ray.errors import InfrastructureError

#: The number of a call, its method and its arguments.
Letter = tuple[int, str, tuple[Any, ...]]
#: The number of a call, and its value or its failure.
Answer = tuple[int, Any, BaseException | None]


class Mailbox:
    """The driver's end: calls to an actor that is a ``Worker``.

    Args:
        actor: the actor's handle.
        result_of: awaits a Ray call and raises what the library knows.
    """

    def __init__(self, actor: Any, result_of: Callable[[Any], Awaitable[Any]]) -> None:
        self._actor = actor
        self._result_of = result_of
        self._numbers = itertools.count()
        self._letters: list[Letter] = []
        self._withdrawn: list[int] = []
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._collector: asyncio.Task[None] | None = None

    async def call(self, method: str, *args: Any) -> Any:
        """``method(*args)`` of the actor. Cancelling this cancels the work in the actor."""
        number = next(self._numbers)
        self._post_soon()
        self._letters.append((number, method, args))
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return await self._waiting[number]
        except asyncio.CancelledError:
            self._post_soon()
            self._withdrawn.append(number)
            raise
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Stop waiting for answers where no call does."""
        if self._collector is not None and not self._waiting:
            self._collector.cancel()

    def _post_soon(self) -> None:
        if not self._letters and not self._withdrawn:
            asyncio.get_running_loop().call_soon(self._post)

    def _post(self) -> None:
        letters, self._letters, withdrawn, self._withdrawn = self._letters, [], self._withdrawn, []
        try:
            self._actor.accept.remote(letters, withdrawn)
        except Exception as error:  # an argument that cannot travel: the callers' fault, so they hear of it
            for number, _, _ in letters:
                self._settle(number, None, error)
            return
        if self._waiting and (self._collector is None or self._collector.done()):
            self._collector = asyncio.get_running_loop().create_task(self._collect())

    async def _collect(self) -> None:
        while self._waiting:
            try:
                answers = await self._result_of(self._actor.answers.remote())
            except InfrastructureError as error:  # with the actor goes all that it held
                answers = [(number, None, type(error)(error.component, error.cause)) for number in self._waiting]
            except Exception as error:  # an answer that cannot travel, say: no call may wait for it for ever
                answers = [(number, None, error) for number in self._waiting]
            for answer in answers:
                self._settle(*answer)
            await asyncio.sleep(0)  # callers take their answers, and ask for more

    def _settle(self, number: int, value: Any, failure: BaseException | None) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if failure is None:
            waiting.set_result(value)
        else:
            waiting.set_exception(failure)


class Worker:
    """The actor's end: runs the methods that letters name, each on its own."""

    def __init__(self) -> None:
        self._running: dict[int, asyncio.Task[None]] = {}
        self._ready: list[Answer] = []
        self._any_ready = asyncio.Event()

    async def accept(self, owner: Any, letters: Sequence[Letter], withdrawn: Sequence[int]) -> None:
        """Start the work of ``letters`` on ``owner``, and cancel that of ``withdrawn``."""
        for number, method, args in letters:
            self._running[number] = asyncio.create_task(self._work(number, getattr(owner, method), args))
        for number in withdrawn:
            if number in self._running:
                self._running[number].cancel()

    async def answers(self) -> list[Answer]:
        """What is ready, as soon as something is."""
        await self._any_ready.wait()
        self._any_ready.clear()
        ready, self._ready = self._ready, []
        return ready

    async def _work(self, number: int, method: Callable[..., Awaitable[Any]], args: Sequence[Any]) -> None:
        try:
            here = [await each if isinstance(each, ray.ObjectRef) else each for each in args]
            answer: Answer = number, await method(*here), None
        except asyncio.CancelledError:
            answer = number, None, InfrastructureError("actor", "the call was cancelled")
        except Exception as error:  # whatever the work raises is its caller's to handle
            answer = number, None, _portable(error)
        finally:
            del self._running[number]
        self._ready.append(answer)
        self._any_ready.set()


def _portable(error: Exception) -> Exception:
    """``error`` with where it arose, as itself where it can be pickled."""
    if isinstance(error, InfrastructureError):
        return error
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the error's own code, which may raise anything
        return RuntimeError("\n".join(traceback.format_exception(error)))
    return error
