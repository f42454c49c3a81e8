"""The transformers engine serves what a learner with adapters computes, whichever way the weights come."""

from __future__ import annotations

import pytest
import torch

from tests.adapters import LORA, adapted_model, change, describe, logprobs, send, sender
from tests.learner_configs import lora
from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.types import Prompt, SamplingParams

PROMPT = Prompt(tuple(range(10, 30)), "")
PARAMS = SamplingParams(max_new_tokens=16, seed=3, logprobs=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), seed=0, tied=True)


@pytest.mark.parametrize(
    ("config", "sent"), [(LORA, LORA), (LORA, None), (lora(dora=True, rslora=True), None), (lora(dora=True),) * 2]
)
async def test_engine_and_learner_agree_version_after_version(path, config, sent):
    model, sends = adapted_model(path, config), sender()
    engine = build_engine(engine_config("transformers"), path, transfer="shared_memory", adapter=sent)
    await engine.start()
    (before,) = await engine.generate(PROMPT, PARAMS)
    for version in (1, 2):
        change(model, seed=version)
        manifest = describe(sends, model, version, sent)
        checksum = send(sends, manifest, model, sent)
        receipt = await engine.receive_weights(manifest)
        assert (receipt.version, receipt.checksum) == (version, checksum)
        (after,) = await engine.generate(PROMPT, PARAMS)
        assert after.newest_version == version and after.logprobs != before.logprobs
        wanted = logprobs(model, PROMPT.token_ids, after.token_ids)
        assert torch.allclose(torch.tensor(after.logprobs), wanted, atol=1e-4)
        before = after
    sends.close()
    await engine.close()


async def test_an_engine_for_adapters_takes_no_full_weights_and_one_for_weights_no_adapters(path):
    model, sends = adapted_model(path), sender()
    for built, sent, words in ((LORA, None, "all weights were sent"), (None, LORA, "adapters were sent")):
        engine = build_engine(engine_config("transformers"), path, transfer="shared_memory", adapter=built)
        with pytest.raises(ValueError, match=words):
            await engine.receive_weights(describe(sends, model, 1, sent))
        sends.release(1)
    sends.close()


def test_an_engine_refuses_adapters_that_it_cannot_serve():
    with pytest.raises(ValueError, match="kind vllm takes adapters by shared_memory or collective"):
        build_engine(engine_config("vllm"), "", transfer="ipc", adapter=LORA)
    with pytest.raises(ValueError, match="kind vllm takes no DoRA"):
        build_engine(engine_config("vllm"), "", transfer="collective", adapter=lora(dora=True))
    with pytest.raises(ValueError, match="up to rank 512"):
        build_engine(engine_config("vllm"), "", transfer="collective", adapter=lora(rank=513))
