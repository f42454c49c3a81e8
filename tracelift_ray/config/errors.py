"""The one error that a wrong configuration raises, and errors in one line."""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: How lines begin that stand behind the one that says what is wrong.
_BESIDE = ("For further information", "For more information", "Failed core proc")


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
        given = self.key if self.value is ConfigError.MISSING else f"{self.key}={shown(self.value)}"
        return f"{given}: {self.right}"


def shown(value: object) -> str:
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


def last_line(text: str, most: int = 300) -> str:
    """The last line of a long message that says something, without colours and in ``most`` characters at most."""
    lines = [" ".join(line.split()) for line in _COLOURS.sub("", text).splitlines()]
    told = [line for line in lines if line and not line.startswith(_BESIDE)] or ["no reason was given"]
    return told[-1] if len(told[-1]) <= most else f"{told[-1][: most - 3]}..."
