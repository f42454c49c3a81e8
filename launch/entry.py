"""How every command of the project starts: composes its configuration and says what is wrong in one line.

``entry_point(config_name)`` makes a function of a configuration the ``main`` of a command. Hydra's command line
(overrides, ``--cfg``, ``-m``) works as usual; ``--help`` is the project's own. An error that the user can mend is one
``error:`` line on stderr and exit code 2 (configuration, data, a path) or 1 (a component failed); anything else keeps
its traceback. ``--traceback`` shows the traceback of every error, before its line.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import hydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from actors.sealed import open_secrets
from launch.commands import command_of
from launch.composition import chosen_groups, config_directory
from launch.flags import check_flags
from launch.help import TRACEBACK, command_help
from tracelift_ray.config.errors import ConfigError, shown
from tracelift_ray.config.load import nearest
from tracelift_ray.errors import DataError, InfrastructureError
from tracelift_ray.garbage import collect_rarely

#: Exit codes: something to mend in configuration or data; a component failed; ended with Ctrl-C or SIGTERM.
WRONG_INPUT, FAILED, INTERRUPTED = 2, 1, 130
_FULL_ERROR = "HYDRA_FULL_ERROR"
#: What to do about a path, by the system's reason.
_MEND = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give a path that this user may use"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or give a path on another disk"),
    errno.ENAMETOOLONG: "give a shorter one",
}
_WARNING = "%(asctime)s %(levelname)s %(message)s"

Job = Callable[[DictConfig], "int | None"]


class Stderr:
    """What ``sys.stderr`` is when something is written: the screen of a run takes it over while it is up."""

    def write(self, text: str) -> int:
        """As a file's."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """As a file's."""
        sys.stderr.flush()


def entry_point(config_name: str) -> Callable[[Job], Callable[[], NoReturn]]:
    """Make a function of a configuration the ``main`` of a command.

    The function returns the exit code (None: 0). In a multirun every job runs, and the worst code is returned.

    Args:
        config_name: the file in ``conf/``, without its ending.
    """

    def decorate(job: Job) -> Callable[[], NoReturn]:
        @functools.wraps(job)
        def main() -> NoReturn:
            collect_rarely()
            if {"--help", "-h"} & set(sys.argv[1:]):
                print(command_help(command_of(config_name)))
                sys.exit(0)
            if failed := guard(open_secrets):  # before Hydra, whose configuration may read them
                sys.exit(failed)
            codes: list[int] = []
            full = TRACEBACK in sys.argv[1:]
            sys.argv = [argument for argument in sys.argv if argument != TRACEBACK]
            if failed := guard(lambda: check_flags(config_name, sys.argv[1:]), full):
                sys.exit(failed)

            @functools.wraps(job)
            def guarded(cfg: DictConfig) -> None:
                # Hydra's own handler would label warnings as its own, and print what libraries say below a warning.
                logging.basicConfig(
                    format=_WARNING, datefmt="%H:%M:%S", level=logging.WARNING, stream=Stderr(), force=True
                )
                codes.append(guard(lambda: job(cfg), full))

            with config_directory(sys.argv[1:]) as directory, _hydra_raises():
                command = hydra.main(version_base="1.3", config_path=str(directory), config_name=config_name)(guarded)
                codes.append(guard(command, full))
            sys.exit(max(codes))

        return main

    return decorate


def guard(action: Callable[[], int | None], full: bool = False) -> int:
    """The exit code of an action; errors that a user can mend become a line, after their traceback where ``full``.

    SIGTERM ends it as Ctrl-C does. To be called in the main thread.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return action() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ConfigError, DataError, HydraException, OmegaConfBaseException) as error:
        return _report(_explain(error), WRONG_INPUT, full)
    except InfrastructureError as error:
        return _report(str(error), FAILED, full)
    except OSError as error:
        if error.filename is None:  # it is about no path
            raise
        return _report(_of_path(error), WRONG_INPUT, full)


def _of_path(error: OSError) -> str:
    """A path that the system refuses: which, why, and what to do."""
    mend = _MEND.get(error.errno or 0, "check the path")
    return f"{shown(error.filename)}: {error.strerror or type(error).__name__}; {mend} ({TRACEBACK} shows where)"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does now; ``asyncio.run`` cancels its task. A script's background commands ignore Ctrl-C alone."""
    ctrl_c = signal.getsignal(signal.SIGINT)
    (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(number, frame)


def _report(line: str, code: int, full: bool) -> int:
    if full:
        traceback.print_exc()
    print(f"error: {line}", file=sys.stderr)
    return code


@contextmanager
def _hydra_raises() -> Iterator[None]:
    """Let Hydra raise instead of printing: it does so where its own switch for full errors is on."""
    before = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = before


def _explain(error: Exception) -> str:
    """One line: for an unknown key the likeliest intended one, else the error's own words without line breaks."""
    text = " ".join(str(error).split())
    if isinstance(error, ConfigError):
        return text + _replaced(error)
    if isinstance(error, OverrideParseException):
        return f"cannot read the override {error.override!r}; write key=value, and quote a value with signs in it"
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown:
        return _unknown_key(unknown.group(1), error.__cause__)
    missing = re.search(
        r"Could not find '([^']+)' Available options in '([^']*)': (.+?)(?: Config search path:.*)?$", text
    )
    if missing:
        choice, group, options = missing.groups()
        name = choice.removeprefix(f"{group}/")
        return f"{group}={name}: no such choice; {nearest(name, options.split())}"
    return re.sub(r" ?See https?://\S+( for details)?\.?", "", text)


def _replaced(error: ConfigError) -> str:
    """Why a value may be missing that an experiment has: its group was chosen on the command line."""
    chosen, group = chosen_groups(sys.argv[1:]), error.key.partition(".")[0]
    if error.value is not ConfigError.MISSING or not {"experiment", group} <= chosen:
        return ""
    return f" ({group}=… on the command line replaces what the experiment sets there)"


def _unknown_key(key: str, cause: BaseException | None) -> str:
    """The full key as far as it exists, and what its last part may have meant."""
    names = list(map(str, getattr(cause, "parent_node", None) or ()))
    if not isinstance(cause, OmegaConfBaseException) or not names:
        right = f"what is before the last dot holds a single value, or nothing yet (then +{key}=… adds it)"
        return f"{key}: no such key; {right}"
    return f"{cause.full_key or key}: no such key; {nearest(str(cause.key), names)}"
