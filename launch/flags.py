"""Flags that a command line may have. Others are refused in one line, before Hydra answers them with its own usage."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches

from hydra._internal.utils import get_args_parser

from launch.conf_files import offer
from tracelift_ray.config.errors import ConfigError


def check_flags(config: str, arguments: Sequence[str]) -> None:
    """Raises ConfigError for a flag that does not exist or lacks its value, with what may have been meant.

    Args:
        config: the command's file in ``conf/``, without its ending.
        arguments: the command line without the name of the program.
    """
    parser = get_args_parser()
    parser.exit_on_error = parser.allow_abbrev = False
    try:
        _, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError(str(error.argument_name), ConfigError.MISSING, error.message) from None
    for each in unknown:
        right = _meant(config, each) if each.startswith("-") else "comes after a flag; write flags before all KEY=VALUE"
        raise ConfigError(each, ConfigError.MISSING, right)


def _meant(config: str, flag: str) -> str:
    """What is right in place of a flag that does not exist: most often the field of that name."""
    name, _, value = flag.lstrip("-").partition("=")
    offered = offer(config)
    for key in get_close_matches(name.replace("-", "_"), [*offered.groups, *offered.fields], n=1):
        switch = offered.fields.get(key, ("",))[0] in ("true", "false")
        return f"no such flag; write {key}={value or ('true' if switch else '…')}, without dashes"
    return "no such flag; write KEY=VALUE, without dashes (--help lists both)"
