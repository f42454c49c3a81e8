"""The canary: after a broadcast, engines and learner must give the same log-probs to the same tokens.

Checksums say what arrived; this says what is computed with it. Every engine writes a few tokens to one prompt, at a
seed of its own request and the planner's temperature, and the learner scores the very tokens. What an engine serves
stale, mixed up, scaled, cast or from an old cache shows as a difference, averaged over the tokens. An answer that is to
the last bit that of the version before, while the learner's has moved, gives away stale weights before they are that
far. The prompt is longer than a block of a prefix cache, so that an old cache is read where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.pools import LearnerGroup, WeightReceivers
from tracelift_ray.types import Completion, Prompt, SamplingParams, TrainSample

#: Nats per token that engine and learner may be apart on average, by whether both compute in float32. On CPUs they
#: agree to 1e-5 in float32; bfloat16 was seen to differ by 0.035.
BOUNDS = {True: 1e-3, False: 0.1}
#: Tokens of the prompt at most; vLLM's cache blocks hold 128 on CPUs.
PROMPT_TOKENS = 160
NEW_TOKENS = 32
SEED = 20
#: Part of the bound by which the learner must have moved before an engine that has not is stale.
MOVED = 0.1


@dataclass(frozen=True)
class Answer:
    """What one engine answered at one version, and what the learner gave the same tokens."""

    engine: str
    version: int
    token_ids: tuple[int, ...]
    engines: tuple[float, ...]
    learners: tuple[float, ...]

    @property
    def apart(self) -> float:
        """Nats per token."""
        return _apart(self.engines, self.learners)


@dataclass
class Canary:
    """What is asked of every engine, and how far its answer may be from the learner's.

    Attributes:
        bound: in nats, of the mean over tokens.
        last: by engine, what it answered last.
    """

    prompt: Prompt
    temperature: float
    bound: float
    last: dict[str, Answer] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunConfig, prompt: Prompt) -> Canary | None:
        """That of a run; None where it has none. ``prompt``: any, which is repeated or cut to a fit length."""
        bound = run.stream.canary_bound
        if bound is None:
            bound = BOUNDS[{run.learner.dtype, run.planner.engine.dtype} == {"float32"}]
        if bound == 0:
            return None
        length = min(PROMPT_TOKENS, run.planner.engine.max_model_len - NEW_TOKENS)
        repeated = prompt.token_ids * -(-length // len(prompt.token_ids))
        return cls(Prompt(repeated[:length], ""), run.planner.sampling.temperature, bound)

    async def check(self, learner: LearnerGroup, receivers: WeightReceivers, version: int) -> float:
        """Compare every engine, which serve ``version`` as the learner has it. Returns the largest difference.

        The caller holds the learner's lock.

        Raises:
            InfrastructureError: an engine is further than ``bound`` from the learner, or serves another version.
        """
        params = SamplingParams(NEW_TOKENS, temperature=self.temperature, seed=SEED, logprobs=True)
        answers = await receivers.probe(self.prompt, params)
        if not answers:
            return 0.0
        texts = list(dict.fromkeys(answer.token_ids for answer in answers.values()))
        samples = [TrainSample(self.prompt.token_ids, text, (0.0,) * len(text), 0.0) for text in texts]
        scores = dict(zip(texts, await learner.score(samples), strict=True))
        for name, completion in answers.items():
            self._check(_answer(name, completion, scores[completion.token_ids], version))
        return max(self.last[name].apart for name in answers)

    def _check(self, answer: Answer) -> None:
        before, self.last[answer.engine] = self.last.get(answer.engine), answer
        if not answer.apart <= self.bound:  # so, too, where it is no number
            raise _failure(answer, f"on average {answer.apart:.3g} apart, and stream.canary_bound is {self.bound:g}")
        if before is None or (before.token_ids, before.engines) != (answer.token_ids, answer.engines):
            return
        moved = _apart(before.learners, answer.learners)
        if moved > MOVED * self.bound:
            raise _failure(
                answer, f"and the engine's are still those of version {before.version}, the learner's moved {moved:.3g}"
            )


def _answer(engine: str, completion: Completion, learners: tuple[float, ...], version: int) -> Answer:
    served = (completion.oldest_version, completion.newest_version)
    if served != (version, version):
        cause = f"planner engine {engine} serves version {served[0]}, the learner is at {version}"
        raise InfrastructureError("canary", cause)
    return Answer(engine, version, completion.token_ids, completion.logprobs or (), learners)


def _failure(answer: Answer, found: str) -> InfrastructureError:
    return InfrastructureError(
        "canary",
        f"planner engine {answer.engine} does not serve version {answer.version} as the learner has it: the canary's "
        f"{len(answer.learners)} tokens have a mean log-prob of {_mean(answer.engines):.6f} there and "
        f"{_mean(answer.learners):.6f} at the learner, {found}. Weights that were not taken or an old cache are the "
        "usual causes; where the engine computes otherwise on purpose (quantised, say), raise the bound",
    )


def _apart(some: tuple[float, ...], others: tuple[float, ...]) -> float:
    return _mean(tuple(abs(a - b) for a, b in zip(some, others, strict=True)))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
