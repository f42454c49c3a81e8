"""A disk that takes no more, in the words of any library."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the limit on the size of files is reached (ulimit -f)",
}
# What libraries that hide the errno say instead (safetensors, torch's zip writer).
_WORDS = {
    "no space left on device": "the disk is full",
    "disk quota exceeded": "the disk quota is used up",
    "file too large": "the limit on the size of files is reached (ulimit -f)",
    "pytorchstreamwriter failed": "a file could not be written in full",
    "inline_container.cc": "a file could not be written in full",
}


def disk_reason(error: BaseException | None) -> str | None:
    """Why an error means that the disk took no more, looking through its causes; None where it means another thing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _ERRORS:
            return _ERRORS[error.errno]
        text = str(error).lower()
        for words, reason in _WORDS.items():
            if words in text:
                return reason
        error = error.__cause__ or error.__context__
    return None


def free_mib(path: Path) -> int:
    """Free space in MiB on the file system of ``path`` or its nearest existing parent."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free >> 20
