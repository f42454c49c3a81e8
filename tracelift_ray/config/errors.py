"""The one error that a wrong configuration raises, and errors in one line."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration value is wrong; the message is one line that names key, value and what would be right.

    Args:
        key: the full dotted key, such as ``learner.zero_stage``.
        value: the value as given, or ``MISSING`` where there is none.
        right: what would be right, as a clause.
    """

    MISSING = object()

    def __init__(self, key: str, value: object, right: str) -> None:
        super().__init__(key, value, right)
        self.key = key
        self.value = value
        self.right = right

    def __str__(self) -> str:
        given = self.key if self.value is ConfigError.MISSING else f"{self.key}={_shown(self.value)}"
        return f"{given}: {self.right}"


def _shown(value: object) -> str:
    """The value as it would be written on a command line, on one line and not too long."""
    text = str(value)
    if value is None:
        text = "null"
    elif isinstance(value, bool):
        text = text.lower()
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(str, value))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {each}' for key, each in value.items())}}}"
    text = " ".join(text.split()) or "''"
    return text if len(text) <= 120 else f"{text[:117]}..."


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
