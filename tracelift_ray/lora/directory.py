"""PEFT directories: adapters on disk, which base model they belong to, and what they lack.

``adapter_config.json`` and ``adapter_model.safetensors`` are PEFT's; ``base.json`` beside them is ours and has a
fingerprint of the base model. Importing this loads nothing heavy, so that a wrong directory is refused at once.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from tracelift_ray.errors import DataError

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
#: Bytes of a weight file that its fingerprint reads at each of so many places.
_SAMPLE = 4096
_SAMPLES = 64
#: The side of a weight [rows, columns] that a part of its adapter must fit.
_SIDES = {"A.weight": 1, "B.weight": 0}
_SIDE_NAMES = ("rows", "columns")


def is_adapter_directory(path: Path) -> bool:
    """Whether a directory holds adapters, which are no model by themselves."""
    return (path / CONFIG).is_file()


def adapter_base(directory: Path) -> str:
    """The base model that adapters name as theirs."""
    try:
        return str(json.loads((directory / CONFIG).read_text()).get("base_model_name_or_path") or "BASE")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{directory / CONFIG} is unreadable ({error})") from error


def write_adapter(directory: Path, tensors: dict[str, torch.Tensor], fields: dict[str, Any], base: str) -> None:
    """Write adapters for the base model in the directory ``base``; ``fields`` are those of PEFT's configuration."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    LoraConfig(**fields, base_model_name_or_path=base, inference_mode=True).save_pretrained(str(directory))
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    (directory / BASE).write_text(json.dumps({"fingerprint": base_fingerprint(Path(base))}) + "\n")
    mode = stat.S_IMODE((directory / BASE).stat().st_mode)  # safetensors writes for the owner alone
    (directory / WEIGHTS).chmod(mode)


def check_adapter(adapter: Path, base: Path) -> None:
    """The adapters in the directory ``adapter`` must be there and belong to the model in ``base``.

    Raises:
        DataError: one line that says what is wrong.
    """
    if not is_adapter_directory(adapter):
        raise DataError(f"{adapter} holds no adapter: {CONFIG} is missing")
    if not (adapter / WEIGHTS).is_file():
        raise DataError(f"{adapter} holds no adapter: {WEIGHTS} is missing")
    if is_adapter_directory(base):
        raise DataError(f"{base} holds adapters, too; give the directory of the base model, {adapter_base(base)}")
    shapes = model_shapes(base)
    for name, shape in tensor_shapes(adapter / WEIGHTS).items():
        layer, _, part = name.removeprefix("base_model.model.").partition(".lora_")
        if not shapes:  # weights of another format, of which PEFT will tell
            break
        weight = shapes.get(f"{layer}.weight")
        if weight is None:
            raise DataError(f"{adapter} adapts {layer}, which is no layer of {base}; it belongs to another base model")
        side = _SIDES.get(part)
        if side is not None and shape[side] != weight[side]:
            raise DataError(
                f"{adapter} adapts {layer} as a weight with {shape[side]} {_SIDE_NAMES[side]}, but in {base} it has "
                f"{weight[side]}; it belongs to another base model"
            )
    _check_fingerprint(adapter, base)


def _check_fingerprint(adapter: Path, base: Path) -> None:
    """What other tools wrote has no fingerprint, and its shapes must do."""
    try:
        trained = json.loads((adapter / BASE).read_text())["fingerprint"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{adapter / BASE} is unreadable ({error})") from error
    if trained != base_fingerprint(base):
        raise DataError(f"{adapter} was trained on other weights than those in {base}: on {adapter_base(adapter)}")


def base_fingerprint(directory: Path) -> str:
    """A hash of the sizes of a model's weight files and of samples of their bytes: quick for a model of any size.

    Raises:
        DataError: there are no weight files.
    """
    files = sorted([*directory.glob("*.safetensors"), *directory.glob("*.bin")])
    if not files:
        raise DataError(f"the model {directory} holds no weights (*.safetensors or *.bin)")
    digest = xxhash.xxh3_128()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with path.open("rb") as file:
            for place in range(_SAMPLES):
                file.seek(size * place // _SAMPLES, os.SEEK_SET)
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def model_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors, from the headers of its safetensors files; empty without such files."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(directory.glob("*.safetensors")):
        found |= tensor_shapes(path)
    return found


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file. Raises DataError where it is none."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise DataError(f"{path} is no safetensors file ({type(error).__name__})") from error
