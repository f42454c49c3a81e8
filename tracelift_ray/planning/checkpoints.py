"""What a model directory says of itself, by ``config.json`` and the first bytes of its weights; no model is loaded.

Raises ``ConfigError`` for a directory that an engine or a learner would refuse, half a minute into a run.
"""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.paths import check_directory

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
#: Weights in the order in which they are looked for: transformers and vLLM read the first kind that is there.
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_LFS_POINTER = b"version https://git-lfs"
#: A longer header is no header: those of the largest models have a few megabytes.
_MAX_HEADER = 100 * 2**20
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
#: Ends of the names of architectures that read a text and write none.
_ENCODERS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "model_max_length")
#: Kinds of rotary positions whose configuration counts the stretched positions already.
_STRETCHED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")


def check_checkpoint(key: str, model: str, what: str = "a Hugging Face checkpoint", *, weights: bool = True) -> None:
    """A directory with a tokenizer and, where ``weights``, a known kind of model whose weights are whole.

    Raises:
        ConfigError: names the directory, what it lacks, and for the name of a model on a hub how to get it.
    """
    if not model:
        raise ConfigError(key, model, f"must be the directory of {what}")
    directory = Path(model)
    if not directory.exists() and (name := hub_name(model)):
        right = (
            f"is no directory; if {name} is a model on the Hugging Face hub, fetch it once (hf download {name} "
            f"--local-dir DIR) and give {key}=DIR"
        )
        raise ConfigError(key, model, right)
    check_directory(key, model, what)
    if weights:
        _check_config(key, model)
        _check_weights(key, model)
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise ConfigError(key, model, "the directory has no tokenizer (such as tokenizer.json)")


def check_generates(key: str, model: str) -> None:
    """A checkpoint that writes text. Raises ConfigError for an encoder, or an encoder with a decoder."""
    config = _config(key, model)
    names = [str(name) for name in config.get("architectures") or ()]
    if config.get("is_encoder_decoder") or (names and all(name.endswith(_ENCODERS) for name in names)):
        right = f"holds {' and '.join(names) or 'an encoder-decoder'}, which does not continue a text; give a causal LM"
        raise ConfigError(key, model, right)


def check_architecture(key: str, model: str, ending: str, what: str) -> None:
    """A checkpoint whose architecture ends with ``ending``. Raises ConfigError; ``what`` says what it must be."""
    names = [str(name) for name in _config(key, model).get("architectures") or ()]
    if not any(name.endswith(ending) for name in names):
        raise ConfigError(key, model, f"holds {' and '.join(names) or 'no named architecture'}; must be {what}")


def check_length(key: str, length: int, model: str) -> None:
    """No longer sequences than the model has positions. Raises ConfigError."""
    positions = _positions(_config(key, model))
    if positions is not None and length > positions:
        raise ConfigError(key, length, f"must be at most {positions}, the positions of {model}")


def check_heads(key: str, ranks: int, model: str) -> None:
    """Every rank that shares a row has as many of the model's attention heads. Raises ConfigError."""
    heads = _config(key, model).get("num_attention_heads", ranks)
    if heads % ranks:
        raise ConfigError(key, ranks, f"must divide the {heads} attention heads of {model}")


def hub_name(path: str) -> str | None:
    """The last two parts of a path that does not exist, where they may be meant as ``owner/name`` on a hub."""
    parent = Path(path).parent
    name = "/".join(Path(path).parts[-2:])
    return name if not parent.exists() and parent.parent.exists() and _HUB_NAME.fullmatch(name) else None


def _config(key: str, model: str) -> dict[str, Any]:
    path = Path(model) / "config.json"
    if not path.is_file():
        raise ConfigError(key, model, "the directory has no config.json; it is no Hugging Face checkpoint")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(key, model, f"its config.json cannot be read ({error}); copy it again") from None
    if not isinstance(config, dict):
        raise ConfigError(key, model, "its config.json is no JSON object; copy it again")
    return config


def _check_config(key: str, model: str) -> None:
    """The kind of model is one that transformers knows, or its code lies beside it."""
    config = _config(key, model)
    kind, known = config.get("model_type"), _known_types()
    if kind is not None and known and kind not in known and not config.get("auto_map"):
        right = f"its config.json has model_type {kind!r}, which the installed transformers does not know"
        raise ConfigError(key, model, right)


@cache
def _known_types() -> frozenset[str]:
    """The kinds of models of the installed transformers, read from its tables: importing it takes seconds."""
    found = importlib.util.find_spec("transformers")
    if found is None or found.origin is None:
        return frozenset()
    tables = (Path(found.origin).parent / "models" / "auto").glob("*auto*.py")
    rows = (re.findall(r'\("([\w.-]+)", "\w+Config"\)', table.read_text("utf-8")) for table in tables)
    return frozenset(name for some in rows for name in some)


def _check_weights(key: str, model: str) -> None:
    files: list[Path] = next((found for kind in _WEIGHTS if (found := _files(model, kind))), [])
    if not any(path.stat().st_size for path in files):
        right = "the directory has no weights (*.safetensors or pytorch_model*.bin); copy the whole checkpoint"
        raise ConfigError(key, model, right)
    for path in files:
        if fault := _fault(path):
            raise ConfigError(key, model, f"{path.name} {fault}")
    for index in _files(model, "*.safetensors.index.json"):
        absent = sorted(name for name in _shards(index) if not (Path(model) / name).is_file())
        if absent:
            raise ConfigError(key, model, f"{index.name} names {absent[0]}, which is not there; copy it too")


def _files(model: str, pattern: str) -> list[Path]:
    return sorted(path for path in Path(model).glob(pattern) if path.is_file())


def _shards(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _fault(path: Path) -> str | None:
    """What is wrong with a file of weights, as a clause; None: nothing that its size and first bytes show."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(len(_LFS_POINTER))
        if head == _LFS_POINTER:
            return "is a pointer of Git LFS, not the weights; fetch them with git lfs pull"
        if path.suffix != ".safetensors":
            broken = head.startswith(b"PK") and not zipfile.is_zipfile(path)
            return "is cut off; copy it again" if broken or not size else None
        stream.seek(0)
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _MAX_HEADER or length + 8 > size:
            return f"is no whole safetensors file ({size:,} bytes); copy it again"
        try:
            header = json.loads(stream.read(length))
            ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "has a header that cannot be read; copy it again"
    expected = 8 + length + max(ends, default=0)
    return f"has {size:,} of {expected:,} bytes; copy it again" if size < expected else None


def _positions(config: dict[str, Any]) -> int | None:
    """Positions that a model has, as vLLM counts them; None where ``config.json`` does not say."""
    text = config.get("text_config")
    settings = text if isinstance(text, dict) else config
    counts = [settings[key] for key in _POSITIONS if isinstance(settings.get(key), int)]
    rope = settings.get("rope_parameters") or settings.get("rope_scaling")
    if not counts or "gemma3" in str(config.get("model_type")):
        return max(counts, default=None)
    rope = rope if isinstance(rope, dict) else {}
    factor = rope.get("factor") if rope.get("rope_type", rope.get("type")) not in _STRETCHED else None
    return int(max(counts) * factor) if isinstance(factor, (int, float)) and factor > 1 else max(counts)
