"""What names a frozen model for good: its weights and how they are computed with, or the server that has them.

Samples of a model may be used again (cached baselines, finished evaluations) only under an equal identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xxhash

from tracelift_ray.config.identity import identity
from tracelift_ray.config.models import ExecutorConfig
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.errors import DataError

_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_BLOCK = 2**22
_file_digests: dict[tuple[str, int, int], str] = {}


def executor_identity(executor: ExecutorConfig) -> dict[str, Any]:
    """The executor's model as plain JSON values: what its samples depend on beside prompt and sampling.

    Raises:
        DataError: the model directory does not exist or holds no weights.
    """
    if is_remote(executor.engine):
        return {"kind": executor.engine.kind, **identity(executor.remote)}
    return {"weights": model_fingerprint(executor.model), **identity(executor.engine)}


def model_fingerprint(model_dir: str | Path) -> str:
    """A hash of a model's weights and architecture: name, size and content of its weight files and ``config.json``.

    Digests are kept in memory by path, size and modification time, so asking again costs nothing.

    Raises:
        DataError: the directory does not exist or holds no weights.
    """
    directory = Path(model_dir)
    if not directory.is_dir():
        raise DataError(f"the model {model_dir} is no directory: name a local model directory")
    weights = next((found for pattern in _WEIGHTS if (found := sorted(directory.glob(pattern)))), None)
    if weights is None:
        raise DataError(f"the model {model_dir} holds no weights ({', '.join(_WEIGHTS)})")
    digest = xxhash.xxh3_128()
    for path in [*weights, directory / "config.json"]:
        if path.exists():
            digest.update(f"{path.name} {path.stat().st_size} {_file_digest(path)}\n".encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    status = path.stat()
    known = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if known not in _file_digests:
        digest = xxhash.xxh3_128()
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        _file_digests[known] = digest.hexdigest()
    return _file_digests[known]
