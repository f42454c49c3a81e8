"""Weight broadcasts between GPUs: ipc on one, nccl and ZeRO-3 in bfloat16 on two. Skipped without GPUs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.senders import SenderSettings, parameter_specs
from tracelift_ray.types import InfrastructureError, Prompt, SamplingParams

GPUS = torch.cuda.device_count()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(GPUS < 1, reason="needs a GPU")]
two_gpus = pytest.mark.skipif(GPUS < 2, reason="needs two GPUs")
PROMPT = Prompt(tuple(5 + (7 * index) % 240 for index in range(100)), "")
GREEDY = SamplingParams(max_new_tokens=12, temperature=0.0, logprobs=True)


def engine_of(path: str, backend: str):
    config = engine_config("vllm", gpu_memory_utilization=0.3)
    return build_engine(config, path, transfer=backend)


def model_on(device: str, path: Path, seed: int):
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(make_tiny_llama(path, seed=seed, tied=True))
    return model.to(device).eval()


def likeliest(model, token_ids: tuple[int, ...]) -> tuple[int, ...]:
    ids = torch.tensor([PROMPT.token_ids + token_ids], device=model.device)
    with torch.no_grad():
        logits = model(ids).logits[0, len(PROMPT.token_ids) - 1 : -1]
    return tuple(logits.argmax(dim=-1).tolist())


async def serve_new_weights(backend: str, device: str, folder: Path) -> None:
    """Broadcast twice to an engine on GPU 0, from a model on ``device``, and compare what is served."""
    engine = engine_of(make_tiny_llama(folder / "served", seed=0, tied=True), backend)
    await engine.start()
    torch.cuda.set_device(device)
    settings = SenderSettings(f"gpu {os.getpid()}", 1, 60.0, address="127.0.0.1", backend="nccl")
    sender = build_weight_sender(backend, settings)
    try:
        for version in (1, 2):
            model = model_on(device, folder / str(version), seed=version)
            manifest = sender.describe(parameter_specs(model.named_parameters(), "float32"), version, ("0.0",))
            if manifest.simultaneous:
                sending = asyncio.to_thread(sender.send, manifest, model.named_parameters())
                checksum, receipt = await asyncio.gather(sending, engine.receive_weights(manifest.for_receiver("0.0")))
            else:
                checksum = sender.send(manifest, model.named_parameters()).checksum
                receipt = await engine.receive_weights(manifest)
            sender.release(version)
            assert (receipt.version, receipt.checksum) == (version, checksum)
            (completion,) = await engine.generate(PROMPT, GREEDY)
            assert completion.token_ids == likeliest(model, completion.token_ids)
            assert completion.oldest_version == completion.newest_version == version
    finally:
        sender.close()
        await engine.close()
    assert not list(Path("/dev/shm").glob(f"tracelift-gpu_{os.getpid()}-*"))


async def test_ipc_between_processes_on_one_gpu(tmp_path):
    await serve_new_weights("ipc", "cuda:0", tmp_path)


async def test_ipc_without_a_learner_on_the_same_gpu_names_the_gpu(tmp_path):
    engine = engine_of(make_tiny_llama(tmp_path, seed=0), "ipc")
    await engine.start()
    sender = build_weight_sender("ipc", SenderSettings(f"gpu {os.getpid()}", 1, 60.0))
    with pytest.raises(InfrastructureError, match="no learner rank shares GPU"):
        await engine.receive_weights(sender.describe((), 1))
    sender.close()
    await engine.close()


@two_gpus
async def test_nccl_from_one_gpu_to_another(tmp_path):
    await serve_new_weights("collective", "cuda:1", tmp_path)


@two_gpus
async def test_nccl_gives_up_on_a_receiver_that_does_not_come(tmp_path):
    torch.cuda.set_device("cuda:1")
    model = model_on("cuda:1", tmp_path, seed=0)
    sender = build_weight_sender("collective", SenderSettings("gpu", 1, 5.0, address="127.0.0.1", backend="nccl"))
    manifest = sender.describe(parameter_specs(model.named_parameters(), "float32"), 1, ("0.0",))
    with pytest.raises(InfrastructureError, match="check that every planner engine is alive"):
        await asyncio.to_thread(sender.send, manifest, model.named_parameters())


@two_gpus
async def test_zero_3_in_bfloat16_on_two_gpus_feeds_an_engine_on_one_of_them(tmp_path):
    """Two learner ranks train one step with partitioned parameters and offer the result by ipc."""
    from transformers import AutoModelForCausalLM

    path = make_tiny_llama(tmp_path / "model", seed=0, tied=True)
    config = engine_config("vllm", gpu_memory_utilization=0.3, dtype="bfloat16")
    engine = build_engine(config, path, transfer="ipc")
    await engine.start()
    ranks = await asyncio.to_thread(start_ranks, path, tmp_path)
    try:
        manifest = await asyncio.to_thread(wait_for_manifest, ranks, tmp_path / "manifest.pkl")
        receipt = await engine.receive_weights(manifest)
        assert receipt.version == 1 and receipt.checksum == (tmp_path / "checksum").read_text()
        (tmp_path / "received").touch()
        assert [await asyncio.to_thread(rank.wait, 120) for rank in ranks] == [0, 0]
        (completion,) = await engine.generate(PROMPT, GREEDY)
        trained: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "trained", dtype=torch.bfloat16)
        trained = trained.to("cuda:0").eval()
        agreeing = [a == b for a, b in zip(completion.token_ids, likeliest(trained, completion.token_ids), strict=True)]
        assert sum(agreeing) >= len(agreeing) - 2  # bfloat16 kernels differ where two tokens are about as likely
    finally:
        for rank in ranks:
            rank.kill()
        await engine.close()


def start_ranks(path: str, folder: Path) -> list[subprocess.Popen]:
    from tracelift_ray.training.ranks import free_port

    port = str(free_port())
    command = [sys.executable, "-m", "tests.gpu.zero3_rank", path, str(folder), port]
    return [subprocess.Popen([*command, str(rank)]) for rank in range(2)]


def wait_for_manifest(ranks: list[subprocess.Popen], path: Path):
    import pickle
    import time

    ends = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < ends and all(rank.poll() is None for rank in ranks), "the learner ranks did not send"
        time.sleep(0.1)
    return pickle.loads(path.read_bytes())
