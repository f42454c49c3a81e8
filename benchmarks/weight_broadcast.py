"""Time of one weight broadcast from a learner to a vLLM engine, for a model of 135 M parameters.

    python -m benchmarks.weight_broadcast [--transfer shared_memory] [--dtype float32] [--rounds 12] [--layers 30]

Prints, for each round, how long the sender wrote, and how long the whole took: from the description of a version until
the engine, which reads while the sender writes, serves it. Every second round finds a request in flight, whose running
step the engine ends first; in the others it is idle, as it is in a strictly on-policy run. The model is random and has
the shape of SmolLM2-135M.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.figures import deliver, median, parser
from tests.tiny import engine_config, make_tokenizer
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.training.export import largest_last
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.transfer.senders import SenderSettings, WeightSender, parameter_specs
from tracelift_ray.types import Prompt, SamplingParams


def random_smollm2(path: Path, layers: int, dtype: str):
    """A random Llama in the shape of SmolLM2-135M, saved under ``path`` and returned."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        dtype=dtype,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(path)
    make_tokenizer("byte").save_pretrained(path)
    return model


async def measure(transfer: str, dtype: str, rounds: int, layers: int) -> list[float]:
    """Seconds of each round; the first, and then every second one, find the engine idle."""
    with tempfile.TemporaryDirectory() as directory:
        model = random_smollm2(Path(directory), layers, dtype)
        parameters = largest_last(model.named_parameters())
        count = sum(parameter.numel() for _, parameter in parameters)
        print(f"{count / 1e6:.1f} M parameters in {dtype}, {len(parameters)} tensors", flush=True)
        engine = build_engine(engine_config("vllm", dtype=dtype), directory, transfer=transfer)
        sender = build_weight_sender(transfer, SenderSettings("benchmark", 64, 60.0, address="127.0.0.1"))
        times = []
        try:
            await engine.start()
            for version in range(1, rounds + 1):
                tokens = 1 if version % 2 else 64
                request = asyncio.create_task(
                    engine.generate(Prompt((5, 6, 7), ""), SamplingParams(max_new_tokens=tokens, temperature=1.0))
                )
                await asyncio.sleep(0.5 if version % 2 else 0.2)
                began = time.perf_counter()
                manifest = sender.describe(parameter_specs(parameters, dtype), version, ("0.0",))
                (checksum, sent), receipt = await asyncio.gather(
                    asyncio.to_thread(timed_send, sender, manifest, parameters),
                    engine.receive_weights(manifest.for_receiver("0.0")),
                )
                served = time.perf_counter()
                sender.release(version)
                assert receipt.checksum == checksum and receipt.version == version
                times.append(served - began)
                state = "idle" if version % 2 else "in flight"
                print(f"round {version} ({state}): send {sent:.3f} s, in all {served - began:.3f} s", flush=True)
                await request
        finally:
            sender.close()
            await engine.close()
    return times


def timed_send(sender: WeightSender, manifest: WeightManifest, parameters: list) -> tuple[str, float]:
    """The checksum of what was sent, and the seconds that it took."""
    began = time.perf_counter()
    sent = sender.send(manifest, parameters)
    return sent.checksum, time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    command = parser(__doc__)
    command.add_argument("--transfer", default="shared_memory", choices=("shared_memory", "collective"))
    command.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    command.add_argument("--rounds", type=int, default=12)
    command.add_argument("--layers", type=int, default=30)
    options = command.parse_args()
    times = asyncio.run(measure(options.transfer, options.dtype, options.rounds, options.layers))
    name = f"weight broadcast, {options.layers} layers of SmolLM2-135M, {options.dtype}, {options.transfer}"
    # The first round of each kind also faults in the memory that the later ones reuse.
    kinds = (("idle", times[2::2]), ("in flight", times[3::2]))
    deliver(options, [median(f"{name}, {state}", chosen, "s", "lower") for state, chosen in kinds])


if __name__ == "__main__":
    main()
