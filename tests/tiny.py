"""Tiny random Llama models with a tokenizer, saved as ordinary Hugging Face directories, for tests of the real stack.

They are small enough that vLLM, transformers and DeepSpeed load one in seconds, and their weights are drawn wide
enough that greedy decoding has clear winners.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import psutil

from tests.hang import HANG_S
from tracelift_ray.config.models import EngineConfig

# fmt: off
WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "plus", "minus",
    "times", "equals", "is", "the", "a", "of", "and", "read", "write", "add", "print", "step", "answer",
    "number", "problem", "trace", "so", "then", "have", "gives",
)
# fmt: on
TAGS = ("<reasoning>", "</reasoning>", "####")


def make_tokenizer(kind: Literal["byte", "word"] = "byte"):
    """A tokenizer of 256 bytes, or of a few words; in both, each of ``TAGS`` is one ordinary token.

    Special tokens: ``<pad>`` (id 0), ``<bos>`` (1), ``<eos>`` (2). No token is added to an encoded text.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<bos>", "<eos>"]
    if kind == "byte":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocab = {token: index for index, token in enumerate([*specials, *alphabet])}
        backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.decoder = decoders.ByteLevel()
        backend.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    else:
        digits = [str(number) for number in range(100)]
        vocab = {
            token: index for index, token in enumerate([*specials, "<unk>", *TAGS, *WORDS, *digits, *".,?=+-*/\n"])
        }
        backend = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )


def make_tiny_llama(
    path: Path | str,
    seed: int = 0,
    *,
    tokenizer: Literal["byte", "word"] = "byte",
    hidden: int = 64,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 1,
    tied: bool = False,
    context: int = 512,
    spread: float = 0.1,
    vocabulary: int = 0,
) -> str:
    """Save a random float32 Llama and its tokenizer under ``path``; returns ``path`` as a string.

    Args:
        seed: of the weights; equal seeds and sizes give equal weights.
        tied: whether the output layer shares the embedding's weights.
        spread: standard deviation of the weights; larger makes the next-token distribution sharper.
        vocabulary: rows of the embedding; 0: as many as the tokenizer has tokens.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = make_tokenizer(tokenizer)
    config = LlamaConfig(
        vocab_size=vocabulary or len(words),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        initializer_range=spread,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    target = Path(path)
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    words.save_pretrained(target)
    return str(target)


def engine_config(kind: str = "vllm", **changes: object) -> EngineConfig:
    """An ``EngineConfig`` fit for tiny models on a CPU, with ``changes``."""
    defaults: dict[str, object] = {
        "kind": kind,
        "dtype": "float32",
        "max_model_len": 512,
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": 0.5,
        "kv_cache_gib": 0.25,
        "max_num_seqs": 64,
        "enforce_eager": True,
        "prefix_caching": True,
        "startup_s": HANG_S,
        "extra": {},
    }
    return EngineConfig(**{**defaults, **changes})  # type: ignore[arg-type]


def engine_cores() -> set[psutil.Process]:
    """The engine-core processes of this one that live."""
    alive = [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    return {child for child in alive if "Engine" in " ".join([child.name(), *child.cmdline()])}
