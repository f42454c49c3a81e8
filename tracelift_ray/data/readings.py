"""How the records of each source are read: as the configuration says for all of them, or as the source itself says.

``mine.csv?statement=question&answer=meta.truth&task==math`` names the fields of its own records, and
``old.jsonl?format=gsm8k`` their form. A source that says anything is read by that alone, so that files of several forms
can be mixed. Wherever problems are read from a file it may say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import nearest
from tracelift_ray.config.paths import DEMO, GYM, SETTINGS, check_file
from tracelift_ray.data.formats import FORMATS
from tracelift_ray.errors import DataError

_FORM = "FILE?format=NAME or FILE?statement=PATH&answer=PATH&task==math"


@dataclass(frozen=True)
class Reading:
    """Where the records of a source are, and how they are read.

    Attributes:
        location: the source without its settings.
        format, fields: as ``load_problems`` takes them.
        own: whether the source itself says so.
    """

    location: str
    format: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    own: bool = False


def reading_of(source: str, format: str = "auto", fields: Mapping[str, str] | None = None) -> Reading:
    """How a source is read; a built-in world or a generator is not.

    Args:
        format, fields: of sources that say nothing of their own.

    Raises:
        DataError: what the source says is no setting.
    """
    if source.startswith((DEMO, GYM)):
        return Reading(source)
    location, own, text = source.partition(SETTINGS)
    if not own:
        return Reading(source, format, fields or {})
    settings: dict[str, str] = {}
    for part in text.split("&"):
        name, _, value = (unquote_plus(each) for each in part.partition("="))
        if not location or not name or not value:
            raise DataError(f"{source}: {part or 'nothing'} is no setting behind the {SETTINGS}: write {_FORM}")
        if name in settings:
            raise DataError(f"{source}: {name} is there twice")
        settings[name] = value
    named = settings.pop("format", "auto")
    if named != "auto" and named not in FORMATS:
        raise DataError(f"{source}: there is no format {named}; {nearest(named, ('auto', *FORMATS))}")
    return Reading(location, named, settings, own=True)


def check_reading(key: str, source: str) -> Reading:
    """How the source of a setting is read. Raises ConfigError where what it says is no setting."""
    try:
        return reading_of(source)
    except DataError as error:
        raise ConfigError(key, source, str(error).removeprefix(f"{source}: ")) from None


def check_source_file(key: str, source: str) -> None:
    """Raises ConfigError where the source of a setting is no file, or says what is no setting."""
    check_file(key, check_reading(key, source).location)
