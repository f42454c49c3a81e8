"""The canary passes engines that serve the learner's weights and catches, within a version, those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from tests.adapters import LORA, adapted_model, change, describe, logprobs, send, sender
from tests.configs import run_config
from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.config.schema import LoraConfig, RunConfig
from tracelift_ray.engines.transformers_engine import TransformersEngine
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.lora.layers import lora_layers
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.weights import broadcast_weights
from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest, WeightReceipt
from tracelift_ray.types import Completion, Prompt, SamplingParams, TrainSample

PROMPT = Prompt(tuple(range(10, 50)), "")
BOUND = 1e-3
Tensors = Sequence[tuple[str, torch.Tensor]]


class OneLearner:
    """A learner of one process, whose adapters change with every version."""

    def __init__(self, path: str, sent: LoraConfig | None, step: float = 0.1) -> None:
        self.lock = asyncio.Lock()
        self.model, self.sent, self.step = adapted_model(path), sent, step
        self.sends = sender()
        self.version = 0

    def advance(self) -> None:
        self.version += 1
        change(self.model, self.version, self.step)

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        return describe(self.sends, self.model, self.version, self.sent)

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        return Sent(send(self.sends, manifest, self.model, self.sent))

    async def abort_weights(self) -> None:
        pass

    async def release_weights(self, manifest: WeightManifest) -> None:
        self.sends.release(manifest.version)

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(logprobs(self.model, s.prompt_ids, s.completion_ids).tolist()) for s in samples)


@dataclass
class Engines:
    """Engines of this process."""

    engines: list[TransformersEngine] = field(default_factory=list)

    def receivers(self) -> tuple[str, ...]:
        return tuple(f"{index}.0" for index in range(len(self.engines)))

    def held(self) -> Held | None:
        return None

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        return [await engine.receive_weights(manifest) for engine in self.engines]

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        answers = [(await engine.generate(prompt, params))[0] for engine in self.engines]
        return dict(zip(self.receivers(), answers, strict=True))


class Faulty(TransformersEngine):
    """An engine that takes what ``fault`` makes of the tensors of this and the last version. Its receipts are right."""

    fault: Callable[[Tensors, Tensors], Tensors] | None = None
    before: Tensors = ()

    def _received(self, manifest: WeightManifest) -> tuple[Tensors, str]:
        tensors, checksum = super()._received(manifest)
        tensors = [(name, tensor.clone()) for name, tensor in tensors]
        taken = tensors if self.fault is None else self.fault(tensors, self.before)
        self.before = tensors
        return taken, checksum


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), seed=0, tied=True)


async def started(path: str, sent: LoraConfig | None) -> Faulty:
    engine = Faulty(engine_config("transformers"), path, transfer="shared_memory", seed=0, adapter=sent)
    await engine.start()
    return engine


async def decoder_of(engine: TransformersEngine):
    from tracelift_ray.engines.transformers_engine import _Call

    answer = engine._answer()
    engine._inbox.put(_Call(lambda decoder: decoder, answer))
    return await answer


def one_missed(new: Tensors, old: Tensors) -> Tensors:
    return [old[0], *new[1:]]


def swapped(new: Tensors, old: Tensors) -> Tensors:
    """Two tensors of one shape in each other's place."""
    by_shape: dict[torch.Size, list[int]] = {}
    for index, (_, tensor) in enumerate(new):
        by_shape.setdefault(tensor.shape, []).append(index)
    one, two = next(each for each in by_shape.values() if len(each) > 1)[:2]
    taken = dict(new)
    taken[new[one][0]], taken[new[two][0]] = new[two][1], new[one][1]
    return list(taken.items())


def scaled(new: Tensors, old: Tensors) -> Tensors:
    return [(name, tensor / 2 if "lora_B" in name else tensor) for name, tensor in new]


def cast_twice(new: Tensors, old: Tensors) -> Tensors:
    return [(name, tensor.bfloat16().to(torch.float8_e4m3fn).float()) for name, tensor in new]


def cut_short(new: Tensors, old: Tensors) -> Tensors:
    """The second half of one tensor is of the last version."""
    (name, tensor), *rest = new
    half = len(tensor) // 2
    return [(name, torch.cat([tensor[:half], old[0][1][half:]])), *rest]


def first_layer_everywhere(new: Tensors, old: Tensors) -> Tensors:
    own = dict(new)
    return [(name, own[name.replace("layers.1.", "layers.0.")]) for name, _ in new]


TENSOR_FAULTS = {
    "stale": lambda new, old: old,
    "one tensor missed": one_missed,
    "tensors swapped": swapped,
    "wrong scale": scaled,
    "cast twice": cast_twice,
    "cut short": cut_short,
    "one layer's in all": first_layer_everywhere,
    "halves of two versions": lambda new, old: new[: len(new) // 2] + old[len(new) // 2 :],
}


MERGED = ("stale", "one tensor missed", "cast twice", "tensors swapped")


@pytest.mark.parametrize(
    ("sent", "fault"), [*((LORA, fault) for fault in TENSOR_FAULTS), *((None, fault) for fault in MERGED)]
)
async def test_a_fault_in_the_tensors_is_caught_within_one_version(path, sent, fault):
    learner, engine = OneLearner(path, sent), await started(path, sent)
    canary = Canary(PROMPT, 1.0, BOUND)
    try:
        for _ in range(2):
            learner.advance()
            done = await broadcast_weights(learner, Engines([engine]), canary)
            assert done.canary is not None and done.canary < 1e-5
        engine.fault = TENSOR_FAULTS[fault]
        learner.advance()
        with pytest.raises(InfrastructureError, match=r"engine 0\.0 does not serve version 3 as .* at the learner"):
            await broadcast_weights(learner, Engines([engine]), canary)
    finally:
        await engine.close()
        learner.sends.close()


async def restarted_without_weights(path: str, engine: Faulty) -> Faulty:
    fresh = await started(path, LORA)
    fresh.fault = lambda new, old: [(name, tensor * ("lora_A" in name)) for name, tensor in new]  # as at its start
    return fresh


async def old_cache_kept(path: str, engine: Faulty) -> Faulty:
    decoder = await decoder_of(engine)
    prefill, kept = decoder._prefill, {}

    def remembered(texts):
        key = tuple(texts)
        if key not in kept:
            kept[key] = prefill(texts)
        return kept[key]

    decoder._prefill = remembered
    return engine


async def switched_off(path: str, engine: Faulty) -> Faulty:
    for layer in lora_layers((await decoder_of(engine))._model).values():
        layer._disable_adapters = True
    return engine


async def other_alpha(path: str, engine: Faulty) -> Faulty:
    for layer in lora_layers((await decoder_of(engine))._model).values():
        layer.scaling["default"] = 1.0
    return engine


@pytest.mark.parametrize("fault", [restarted_without_weights, old_cache_kept, switched_off, other_alpha])
async def test_a_fault_of_one_engine_of_two_is_caught_within_one_version(path, fault):
    learner, engines = OneLearner(path, LORA), [await started(path, LORA) for _ in range(2)]
    canary = Canary(PROMPT, 1.0, BOUND)
    try:
        learner.advance()
        engines[1] = await fault(path, engines[1])
        if fault is old_cache_kept:
            await broadcast_weights(learner, Engines(engines), canary)
            learner.advance()
        with pytest.raises(InfrastructureError, match=r"engine 1\.0 does not serve version"):
            await broadcast_weights(learner, Engines(engines), canary)
    finally:
        for engine in engines:
            await engine.close()
        learner.sends.close()


async def test_stale_weights_are_caught_before_they_are_past_the_bound(path):
    learner, engine, canary = OneLearner(path, LORA), await started(path, LORA), Canary(PROMPT, 1.0, bound=1.0)
    try:
        learner.advance()
        await broadcast_weights(learner, Engines([engine]), canary)
        engine.fault = TENSOR_FAULTS["stale"]
        learner.advance()
        with pytest.raises(InfrastructureError, match="still those of version 1, the learner's moved"):
            await broadcast_weights(learner, Engines([engine]), canary)
    finally:
        await engine.close()
        learner.sends.close()


async def test_a_version_that_changes_nothing_is_no_fault(path):
    learner, engine, canary = OneLearner(path, LORA), await started(path, LORA), Canary(PROMPT, 1.0, BOUND)
    try:
        learner.advance()
        await broadcast_weights(learner, Engines([engine]), canary)
        learner.version += 1
        assert (await broadcast_weights(learner, Engines([engine]), canary)).canary < 1e-5
    finally:
        await engine.close()
        learner.sends.close()


@pytest.mark.parametrize(
    ("learner", "engine", "bound", "used"),
    [
        ("float32", "float32", None, 1e-3),
        ("bfloat16", "bfloat16", None, 0.1),
        ("float32", "bfloat16", None, 0.1),
        ("float32", "float32", 0.5, 0.5),
    ],
)
def test_the_bound_follows_the_types(learner, engine, bound, used):
    canary = Canary.of(changed(learner, engine, bound), Prompt((7, 8, 9), ""))
    assert canary is not None and canary.bound == used


def test_the_prompt_fills_a_block_of_a_cache_where_the_context_has_room():
    long, short = (Canary.of(changed("float32", "float32", None, context), PROMPT) for context in (512, 96))
    assert len(long.prompt.token_ids) == 160 and long.prompt.token_ids[:80] == PROMPT.token_ids * 2
    assert short.prompt.token_ids == (PROMPT.token_ids * 2)[:64]
    assert Canary.of(changed("float32", "float32", 0.0), PROMPT) is None


def changed(learner: str, engine: str, bound: float | None, context: int = 512) -> RunConfig:
    run = run_config()
    return replace(
        run,
        learner=replace(run.learner, dtype=learner),
        stream=replace(run.stream, canary_bound=bound),
        planner=replace(run.planner, engine=replace(run.planner.engine, dtype=engine, max_model_len=context)),
    )
