"""The command line of the project: ``tracelift COMMAND …``, which is ``python -m launch COMMAND …``.

A command is the ``main`` of its module in ``launch/``, so ``python -m launch.train …`` runs the same code.
"""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

from launch.commands import COMMANDS
from launch.help import command_list
from tracelift_ray.config.load import nearest

WRONG = 2


def main() -> NoReturn:
    """Run the command that the command line names, or list them."""
    first, *rest = sys.argv[1:] or ["--help"]
    if first in ("--help", "-h"):
        print(command_list())
    elif first == "--completion":
        sys.exit(_completion(rest))
    elif first == "--complete":
        from launch.completion import candidates

        for each in candidates(rest):  # an empty line would be a candidate, in place of the shell's own file names
            print(each)
    elif first in COMMANDS:
        sys.argv = [f"tracelift {first}", *rest]
        sys.exit(importlib.import_module(COMMANDS[first].module).main())
    else:
        print(f"error: {first}: no such command; {nearest(first, COMMANDS)}", file=sys.stderr)
        sys.exit(WRONG)
    sys.exit(0)


def _completion(shells: list[str]) -> int:
    from launch.completion import SHELLS

    if len(shells) != 1 or shells[0] not in SHELLS:
        known = " or ".join(SHELLS)
        print(f'error: completion is for {known}: eval "$(tracelift --completion bash)"', file=sys.stderr)
        return WRONG
    print(SHELLS[shells[0]])
    return 0


if __name__ == "__main__":
    main()
