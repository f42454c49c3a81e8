"""Simulated members of the pools: planner engines, executors, verifiers, scorers, reached through ``Handle``.

What they answer depends on the request's seed and on the weights that write it, never on time or on the member: so a
run that was disturbed can be compared with one that was not. Faults decide when they answer, and whether.
"""

from __future__ import annotations

import asyncio
import hashlib
from math import inf
from typing import TYPE_CHECKING, Any

from tracelift_ray.errors import ComponentDead, InfrastructureError, TransferBroken
from tracelift_ray.simulation.account import Written
from tracelift_ray.simulation.watch import quality_score, sample_number
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt
from tracelift_ray.types import Artifact, Completion, Problem, Prompt, RubricScore, SamplingParams, Verdict

if TYPE_CHECKING:
    from tracelift_ray.simulation.world import World

#: Seconds that a method takes, at most; at least a tenth of that.
TYPICAL_S = {"generate": 8.0, "verify": 3.0, "score": 4.0, "receive_weights": 2.0, "start": 20.0}
#: A slow call takes so many times as long; a late one so many seconds more than any deadline.
SLOWER, LATER_S = 5.0, 500.0
#: A paused engine looks for new weights this often.
PAUSE_S = 0.5


def draw(*parts: Any) -> int:
    """A number that ``parts`` alone decide."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "little")


class SimulatedMember:
    """One member of a pool; which methods it is asked for depends on the pool."""

    def __init__(self, world: World, pool: str, index: int, restart: int, capacity: int) -> None:
        self.world = world
        self.pool = pool
        self.name = f"{index}.{restart}"
        self.restarted = restart > 0
        self.capacity = capacity
        self.held = 0
        self.dead = self.frozen = self.asleep = self.torn = False
        self.late_at = inf  # since when it is known to hang
        self.version: int | None = None
        self.weights: str | None = None
        self._unanswered: list[asyncio.Future[Any]] = []

    async def call(self, method: str, *args: Any) -> Any:
        """Work."""
        self.held += 1
        hung_s = asyncio.get_running_loop().time() - self.late_at
        answers = hung_s <= self.world.health_s + 1e-6
        self.world.watch.check(answers, "a member that hangs gets no more work", self.name, hung_s)
        self.world.watch.check(self.held <= self.capacity, "a member holds no more than its capacity", self.name)
        self.world.watch.check(not self.asleep, "no work goes to a member that sleeps", self.pool, self.name)
        began = asyncio.get_running_loop().time()
        try:
            return await self._answer(method, args)
        except asyncio.CancelledError:
            now = asyncio.get_running_loop().time()
            if self.frozen and now - began >= self.world.call_s:
                self.late_at = min(self.late_at, now)
            raise
        finally:
            self.held -= 1

    async def control(self, method: str, *args: Any) -> Any:
        """A call beside the work."""
        return await self._answer(method, args)

    def kill(self) -> None:
        """The process is gone, with all that it holds."""
        self.dead = True
        for answer in self._unanswered:
            if not answer.done():
                answer.set_exception(ComponentDead(self.pool, "the process is gone"))

    async def ended(self) -> None:
        """It is."""

    async def _answer(self, method: str, args: tuple[Any, ...]) -> Any:
        if self.dead:
            raise ComponentDead(self.pool, "the process is gone")
        loop = asyncio.get_running_loop()
        fault = self.world.take(f"{self.pool}.{method}")
        seconds = self.world.seconds(TYPICAL_S.get(method, 0.5))
        answer: asyncio.Future[Any] = loop.create_future()
        self._unanswered.append(answer)
        begun = self.version
        if fault == "freeze":
            self.frozen = True
        seconds += {"slow": seconds * SLOWER, "late": LATER_S}.get(fault, 0.0)
        timers = []
        if fault == "die":
            timers.append(loop.call_later(seconds / 2, self.kill))
        elif fault != "hang":
            timers.append(loop.call_later(seconds, self._finish, answer, method, args, begun, fault))
        if fault == "twice":
            timers.append(loop.call_later(seconds * 1.5, self._finish, answer, method, args, begun, ""))
        try:
            return await answer
        except asyncio.CancelledError:
            self.torn = self.torn or method == "receive_weights"
            if fault != "late":
                for timer in timers:
                    timer.cancel()
            raise
        finally:
            self._unanswered.remove(answer)

    def _finish(
        self, answer: asyncio.Future[Any], method: str, args: tuple[Any, ...], begun: int | None, fault: str
    ) -> None:
        """The answer is due; it reaches its caller unless the member is gone, frozen or given up on."""
        if self.dead or self.frozen:
            return
        if answer.cancelled() and (fault != "late" or self._slept(method)):
            return
        if method == "generate" and self.torn:  # paused until it has whole weights
            asyncio.get_running_loop().call_later(PAUSE_S, self._finish, answer, method, args, begun, fault)
            return
        self.world.event(self.pool, self.name, method, fault)
        try:
            if fault == "error":
                raise InfrastructureError(self.pool, "no room for the cache")
            if fault == "bug":
                raise ValueError(f"a bug in {method}")
            if method == "receive_weights":
                self._receive(answer, args[0], fault)
                return
            value = getattr(self, method)(*args, begun) if method == "generate" else getattr(self, method)(*args)
        except Exception as error:  # to the caller
            if not answer.done():
                answer.set_exception(error)
            return
        if not answer.done():
            answer.set_result(value)

    def _slept(self, method: str) -> bool:
        """Whether an engine has no weights, and so none of the requests that it had before, either."""
        return self.pool == "planner" and method == "generate" and self.version is None

    def start(self) -> None:
        """Nothing is served until weights have come."""

    def health(self) -> None:
        """It answers."""

    def close(self) -> None:
        """Nothing to end."""

    def sleep(self) -> None:
        """Weights are gone with the memory."""
        self.asleep, self.version, self.weights = True, None, None

    def wake(self) -> None:
        """It may work again."""
        self.asleep = False

    def _receive(self, answer: asyncio.Future[Any], manifest: WeightManifest, fault: str) -> None:
        channel = self.world.learner.channels[manifest.location]
        self.torn = True
        arriving = channel.join(manifest.receiver)

        def arrived(content: asyncio.Future[str]) -> None:
            if self.dead or self.frozen or answer.done():
                return
            if content.exception() is not None or fault == "broken":
                answer.set_exception(TransferBroken(self.pool, "the channel broke"))
                return
            self.torn = False
            known = self.version if self.version is not None else -1
            grows = manifest.version >= known or known in self.world.watch.outdated
            self.world.watch.check(grows, "an engine's version only grows", manifest.version)
            self.version, self.weights = manifest.version, content.result() + ("?" if fault == "corrupt" else "")
            checksum = f"sum-{self.weights}"
            answer.set_result(WeightReceipt(manifest.version, checksum, (checksum,)))

        arriving.add_done_callback(arrived)

    def generate(self, prompt: Prompt, params: SamplingParams, begun: int | None) -> list[Completion]:
        """A trace, or executor samples."""
        if self.pool == "planner":
            return [self._trace(prompt, params, begun)]
        return [self._sample(prompt, params, index) for index in range(params.n)]

    def _trace(self, prompt: Prompt, params: SamplingParams, begun: int | None) -> Completion:
        watch = self.world.watch
        faulty = watch.faulty(self.version, self.weights, self.name)
        role, problem, epoch, index = self.world.requests.get(params.seed, ("", "", -1, -1))
        asked = self.world.problem_in(prompt).id
        watch.check((role, problem) == ("planner", asked), "a request has its own seed", asked, params.seed)
        quality = draw(params.seed, self.weights) % 1000
        oldest = self.version if begun is None else begun
        number = len(watch.traces)
        watch.traces.append(Written(problem, epoch, index, oldest or 0, quality, faulty))
        closed = quality % 9 > 0
        text = f"plan q{quality} n{number} " + ("</reasoning>" if closed else "and so on")
        return Completion(
            (quality, number, oldest or 0), text, "stop", (-0.1, -0.2, -0.3), oldest or 0, self.version or 0
        )

    def _sample(self, prompt: Prompt, params: SamplingParams, index: int) -> Completion:
        world, problem = self.world, self.world.problem_in(prompt)
        words = prompt.text.split()
        quality = next((int(word[1:]) for word in words if word[0] == "q" and word[1:].isdigit()), -1)
        trace = next((int(word[1:]) for word in words if word[0] == "n" and word[1:].isdigit()), -1)
        written = world.watch.traces[trace] if trace >= 0 else None
        request = world.requests.get(params.seed, ("", "", -1, -1))
        own = ("executor", written.problem, written.epoch, written.index) if written else ("baseline", problem.id)
        world.watch.check(request[: len(own)] == own, "a request has its own seed", *own, params.seed)
        frozen = request[0] == "baseline" and request[2] < 0
        world.watch.check(
            frozen <= (world.scenario.baseline == "cached"), "each group has a baseline of its epoch", *request
        )
        hopeless = draw(problem.id) % 3 == 0  # a problem whose groups have no signal
        chance = 0 if hopeless else 30 if quality < 0 else 20 + quality % 80
        success = draw(params.seed, index, quality) % 100 < chance
        number = len(world.samples)
        world.samples.append((trace, problem.id, request[2]))
        return Completion((number,), f"x{number} \n#### {problem.answer if success else 0}", "stop")

    def verify(self, problem: Problem, artifacts: list[Artifact]) -> list[Verdict]:
        """A verdict on each artifact, by the reference answer."""
        world, verdicts = self.world, []
        successes = 0
        for artifact in artifacts:
            number = sample_number(artifact.completion_text)
            trace, asked, epoch = world.samples[number]
            world.watch.check(asked == problem.id, "an artifact is checked against its problem", number)
            success = artifact.content == problem.answer
            successes += success
            world.watch.verdicts[number] = (trace, int(success))
            verdicts.append(Verdict("passed" if success else "wrong_answer"))
        if artifacts and trace < 0:
            world.watch.baselines.setdefault((problem.id, epoch), set()).add((successes, len(artifacts)))
        return verdicts

    def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The score of a trace."""
        quality = int(next(word for word in reasoning.split() if word[0] == "q")[1:])
        return RubricScore((2.0,) * 5, quality_score(quality), quality_score(quality))
