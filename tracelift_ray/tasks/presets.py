"""Where prompt files lie: the presets in ``conf/prompts`` by name, and files of users by path."""

from __future__ import annotations

from pathlib import Path

import xxhash

from tracelift_ray.errors import DataError

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "prompts"


def presets() -> tuple[str, ...]:
    """The names of the presets."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def prompt_path(prompt: str) -> Path:
    """The file that a name or a path means. Raises DataError where there is none."""
    if "/" not in prompt and not prompt.endswith((".yaml", ".yml")):
        if prompt not in presets():
            known = ", ".join(presets())
            raise DataError(f"prompt {prompt!r}: there is no such preset; give {known} or the path of a YAML file")
        return FOLDER / f"{prompt}.yaml"
    path = Path(prompt)
    if not path.is_file():
        raise DataError(f"{prompt}: is no file; copy one of {FOLDER} and change it")
    return path


def prompt_identity(prompt: str) -> str:
    """What tells prompts apart in records: the name of the preset whose text it is, else a digest of its text."""
    source = prompt_path(prompt).read_bytes()
    same = (name for name in presets() if prompt_path(name).read_bytes() == source)
    return next(same, None) or xxhash.xxh3_64_hexdigest(source)
