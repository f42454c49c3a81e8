"""How failures inside actors reach a person: one line in the driver, the whole of it in the actor's own log."""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
from collections.abc import Iterator

from ray.exceptions import RayError, RayTaskError

from tracelift_ray.config.errors import ConfigError, last_line
from tracelift_ray.errors import DataError, InfrastructureError

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
    except InfrastructureError as error:
        traceback.print_exc()
        raise InfrastructureError(error.component, _with_log(last_line(error.cause))) from None
    except Exception as error:  # what a library raises while a model loads: a line for the driver, the log has the rest
        traceback.print_exc()
        kind, line = type(error).__name__, last_line(str(error) or type(error).__name__)
        cause = line if line.startswith(kind) else f"{kind}: {line}"
        raise InfrastructureError("actor", _with_log(cause)) from None


def told_cause(error: RayTaskError) -> BaseException:
    """What an actor's method raised, where that is a line for people; else Ray's error with the whole traceback."""
    return error.cause if isinstance(error.cause, _TOLD) else error


def reason_of(error: RayError) -> str:
    """Ray's reason for the death of an actor, on one line: its last one, which holds the exception.

    Leaves out Ray's paragraph about possible causes.
    """
    return last_line(str(error).partition(" Some common causes include")[0])


def _with_log(cause: str) -> str:
    return f"{cause}; more is in {_own_log()}"


def _own_log() -> str:
    """Where this process writes its errors, as another person would look for it."""
    try:
        return f"{os.readlink('/proc/self/fd/2')} on {platform.node()}"
    except OSError:
        return f"the log of this actor on {platform.node()}"
