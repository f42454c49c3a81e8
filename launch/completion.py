"""What the shell offers after Tab: commands, then the groups, choices and fields of the command.

``tracelift --completion bash`` (or ``zsh``) prints a function for that shell, which calls ``tracelift --complete`` with
the words before the cursor. Nothing is composed and nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Sequence

from launch.commands import COMMANDS
from launch.conf_files import offer
from launch.help import TRACEBACK

BASH = """_tracelift() {
    local words
    read -r -a words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    mapfile -t COMPREPLY < <(tracelift --complete "${words[@]:1}" 2>/dev/null)
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
}
complete -o default -F _tracelift tracelift"""

ZSH = """_tracelift() {
    local -a offered
    offered=("${(@f)$(tracelift --complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    compset -P '*='
    if [[ -z ${offered[1]} ]]; then
        _files
    else
        compadd -S '' -- ${(M)offered:#*=}
        compadd -- ${offered:#*=}
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _tracelift tracelift"""

#: The functions of the shells that there are, by name.
SHELLS = {"bash": BASH, "zsh": ZSH}


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of ``words`` can become; the first of them is the command.

    Of ``reward=ex`` the part behind the sign is completed alone, as bash splits words there.
    """
    *before, last = words or [""]
    if not before:
        return _starting(last, [*COMMANDS, "--help"])
    command = COMMANDS.get(before[0])
    if command is None or command.config is None:
        return []
    offered = offer(command.config)
    key, given, value = last.partition("=")
    if given:
        return _starting(value, list(offered.groups.get(key, ())))
    names = [*offered.groups, *offered.fields]
    return _starting(last, [*(f"{name}=" for name in names), TRACEBACK, "--help"])


def _starting(beginning: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(beginning)]
