"""In-process pools whose timing and faults a test decides; the loop cannot tell them from Ray actors."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from tracelift_ray.rl.rollout import GroupFailed
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest, WeightReceipt
from tracelift_ray.types import (
    Artifact,
    Completion,
    Group,
    Problem,
    Prompt,
    RubricScore,
    SamplingParams,
    Trace,
    TrainBatch,
    TrainSample,
    Trajectory,
    Verdict,
)

IDS = (11, 12, 13)


def problems(count: int) -> tuple[Problem, ...]:
    return tuple(Problem(f"p{i}", "math", f"what is {i} + 1 ?", answer=str(i + 1)) for i in range(count))


def completion(text: str = "1 + 1 </reasoning>", version: int = 0, newest: int | None = None) -> Completion:
    return Completion(IDS, text, "stop", (-0.1, -0.2, -0.3), version, version if newest is None else newest)


def group(ticket: Ticket, rewards: Sequence[float], version: int) -> Group:
    """A finished group with these rewards, its traces written by ``version``."""
    trajectories = tuple(
        Trajectory(Trace(ticket.problem.id, i, (1, 2), completion(version=version), "1 + 1"), reward=reward)
        for i, reward in enumerate(rewards)
    )
    return Group(ticket.serial, ticket.problem, ticket.submitted_version, trajectories)


class FakeRollout:
    """Finishes groups after ``delay(ticket)`` loop ticks with ``rewards(ticket)``, or fails them where that is None."""

    def __init__(
        self,
        rewards: Callable[[Ticket], Sequence[float] | None] = lambda _: (0.0, 1.0),
        delay: Callable[[Ticket], int] = lambda _: 1,
    ) -> None:
        self.rewards = rewards
        self.delay = delay
        self.started: list[Ticket] = []
        self.running = 0

    async def run(self, ticket: Ticket) -> Group:
        self.started.append(ticket)
        self.running += 1
        try:
            for _ in range(self.delay(ticket)):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        rewards = self.rewards(ticket)
        if rewards is None:
            raise GroupFailed(ticket, Counter(["executor: gone"]))
        return group(ticket, rewards, ticket.submitted_version)


class FakeGenerator:
    """Answers with ``answer(prompt, params, n)``; records every request."""

    def __init__(self, answer: Callable[[Prompt, SamplingParams], list[Completion]], delay_s: float = 0.0) -> None:
        self.answer = answer
        self.delay_s = delay_s
        self.requests: list[tuple[Prompt, SamplingParams]] = []

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        self.requests.append((prompt, params))
        await asyncio.sleep(self.delay_s)
        return self.answer(prompt, params)


class FakeVerifier:
    """Passes artifacts that hold the reference answer."""

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        return [Verdict("passed" if a.content == problem.answer else "wrong_answer") for a in artifacts]


class FakeReasoningRm:
    """Scores every trace the same."""

    def __init__(self, score: float = 0.5) -> None:
        self.rubric = RubricScore((2.0,) * 5, score, score)
        self.scored: list[str] = []

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        self.scored.append(reasoning)
        return self.rubric


class FakeLearner:
    """Counts versions; its weights are its version."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.version = 0
        self.batches: list[TrainBatch] = []
        self.released: list[int] = []
        self.saved: list[str] = []

    async def update(self, batch: TrainBatch) -> dict[str, float]:
        async with self.lock:
            await asyncio.sleep(0)
            self.batches.append(batch)
            self.version += 1
        return {"learner/loss": 0.0}

    async def abandon_update(self) -> None:
        pass

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        return WeightManifest(self.version, "shared_memory", (), "", 1, False, 1.0)

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        return Sent(f"sum-{manifest.version}")

    async def abort_weights(self) -> None:
        pass

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        return tuple((-0.5,) * len(sample.completion_ids) for sample in samples)

    async def release_weights(self, manifest: WeightManifest) -> None:
        self.released.append(manifest.version)

    async def save(self, planner_dir: str, state_dir: str | None) -> None:
        self.saved.append(planner_dir)


class FakeReceivers:
    """Planner engines that take weights; ``checksum`` lets a test corrupt what one of them holds."""

    def __init__(self, count: int = 2, checksum: Callable[[int, int], str] = lambda engine, v: f"sum-{v}") -> None:
        self.count = count
        self.checksum = checksum
        self.versions: list[int] = []
        self.wrong_from = 10**6

    def receivers(self) -> tuple[str, ...]:
        return tuple(f"{index}.0" for index in range(self.count))

    def held(self) -> Held | None:
        return None

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        self.versions.append(manifest.version)
        sums = [self.checksum(engine, manifest.version) for engine in range(self.count)]
        return [WeightReceipt(manifest.version, each, (each,)) for each in sums]

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        """The learner's log-probs, until version ``wrong_from``."""
        version = self.versions[-1]
        logprob = -0.75 if version >= self.wrong_from else -0.5
        answer = Completion(IDS, "", "length", (logprob,) * len(IDS), version, version)
        return dict.fromkeys(self.receivers(), answer)
