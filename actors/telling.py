"""How failures inside actors reach a person: one line in the driver, the whole of it in the actor's own log."""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
from collections.abc import Iterator

from ray.exceptions import RayError, RayTaskError

from tracelift_ray.config.errors import ConfigError, last_line
from tracelift_ray.types import DataError, InfrastructureError

#: Errors whose message is one line for people already.
_TOLD = (InfrastructureError, DataError, ConfigError)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Inside an actor that starts: what fails is one line that names the actor's log, which has the traceback.

    Raises:
        InfrastructureError: for every error but those of data and configuration, which stay as they are.
    """
    try:
        yield
    except (DataError, ConfigError):
        raise
    except Exception as error:
        traceback.print_exc()
        told = isinstance(error, InfrastructureError)
        component = error.component if isinstance(error, InfrastructureError) else "actor"
        cause = error.cause if isinstance(error, InfrastructureError) else f"{type(error).__name__}: {error}"
        line = last_line(cause)
        if not told and not line.startswith(type(error).__name__):
            line = f"{type(error).__name__}: {line}"
        raise InfrastructureError(component, f"{line}; more is in {_own_log()}") from None


def told_cause(error: RayTaskError) -> BaseException:
    """What an actor's method raised, where that is a line for people; else Ray's error with the whole traceback."""
    return error.cause if isinstance(error.cause, _TOLD) else error


def reason_of(error: RayError) -> str:
    """Ray's reason for the death of an actor, on one line: its last one, which holds the exception.

    Leaves out Ray's paragraph about possible causes.
    """
    return last_line(str(error).partition(" Some common causes include")[0])


def _own_log() -> str:
    """Where this process writes its errors, as another person would look for it."""
    try:
        return f"{os.readlink('/proc/self/fd/2')} on {platform.node()}"
    except OSError:
        return f"the log of this actor on {platform.node()}"
