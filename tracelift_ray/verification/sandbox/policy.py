"""The settings of one slot: its tier, its layers of isolation, the user id of programs, and the files they may read."""

from __future__ import annotations

import functools
import glob
import itertools
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.verification.sandbox.tiers import SAFE_TIERS

_QUERY = "import json, sys; print(json.dumps([[p for p in sys.path if p], sys.prefix]))"
#: No site-packages, nothing from the current folder, and no other environment than the one given.
FLAGS = ("-S", "-s", "-P", "-X", "utf8")
_SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
_SYSTEM_DATA = ("/usr/share/zoneinfo",)
_THIRD_PARTY = ("site-packages", "dist-packages")
_STAGES = ("/tmp", "/var/tmp", "/mnt", "/srv", "/media")
#: User ids of slots, where this process may use them; else those that a container with 65,536 ids has.
_FIRST_SLOT_ID, _NUM_SLOT_IDS = 1_000_000_000, 900_000_000
_FIRST_SMALL_ID, _NUM_SMALL_IDS = 60_000, 5_000
#: In a user namespace of ours, programs are this user; outside it is the slot's id.
_INNER_ID = 1
_SCRATCH_MIB = 16
_serials = itertools.count()


@dataclass(frozen=True)
class Policy:
    """The layers of isolation. Without ``seccomp`` or ``landlock`` a tier is not safe: that is for tests."""

    tier: str
    seccomp: bool = True
    landlock: bool = True

    @classmethod
    def of_tier(cls, tier: str) -> Policy:
        """The policy of a tier: both layers, except for ``unsafe_subprocess``."""
        safe = tier in SAFE_TIERS
        return cls(tier, seccomp=safe, landlock=safe)


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs programs: the one that runs this process, without its packages.

    Attributes:
        sys_path: where programs import from.
        read_only: files and folders that exist in a slot's separate root.
        readable: files and folders that programs may read, with all below.
        readable_system: those of them that are not the library's.
        listed: folders that programs may list.
        hidden: folders of third-party packages, shown empty in a separate root.
        open_to_all: whether every user may read the library, which programs under a separate id must.
    """

    executable: str
    sys_path: tuple[str, ...]
    read_only: tuple[str, ...]
    readable: tuple[str, ...]
    readable_system: tuple[str, ...]
    listed: tuple[str, ...]
    hidden: tuple[str, ...]
    open_to_all: bool


def slot_message(policy: Policy, config: SandboxConfig, directory: str, cores: tuple[int, ...]) -> dict[str, Any]:
    """The first message to a fork server; see ``inside.fork_server.Server``.

    Args:
        directory: where programs start, where the tier gives them no separate root.
        cores: to pin the slot to; empty: not pinned.
    """
    python = interpreter(config.packages)
    root = os.geteuid() == 0
    slot_id = None
    if root and policy.tier == "namespaces":
        slot_id = _INNER_ID
    elif root and policy.tier == "landlock":
        slot_id = new_slot_id()
    in_memory = policy.tier == "landlock" and root and not python.open_to_all
    # Every process takes a copy of the rules, so there are no more of them than are needed.
    readable, listed = python.readable, python.listed
    if policy.tier == "namespaces":
        readable, listed = ("/",), ()  # a separate root with nothing else in it; no file outside is below it
    elif in_memory:
        readable, listed = python.readable_system, ()  # programs may not enter the library's folder anyway
    return {
        "tier": policy.tier,
        "seccomp": policy.seccomp,
        "landlock": policy.landlock,
        "slot_id": slot_id,
        "maps_from_outside": root,
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "cores": list(cores),
        "threads": config.threads,
        "count_threads": _counts_threads(policy.tier, slot_id),
        "directory": directory,
        "stage": _stage(python.read_only),
        "scratch_mib": _SCRATCH_MIB,
        "read_only": python.read_only,
        "hidden": python.hidden,
        "readable": readable,
        "listed": listed,
        "sys_path": python.sys_path,
        "library_in_memory": in_memory,
        "preload": config.preload,
    }


def id_map() -> str:
    """The lines that map the user ids of a slot's namespace, for root: itself, and the programs' own id."""
    return f"0 0 1\n{_INNER_ID} {new_slot_id()} 1\n"


def new_slot_id() -> int:
    """A user id that no other slot on this machine has, as far as ids last: threads are counted by user."""
    serial = os.getpid() * 64 + next(_serials)
    if _largest_id() > _FIRST_SLOT_ID + _NUM_SLOT_IDS:
        return _FIRST_SLOT_ID + serial % _NUM_SLOT_IDS
    return _FIRST_SMALL_ID + serial % _NUM_SMALL_IDS


@functools.cache
def interpreter(packages: str) -> Interpreter:
    """What there is to know of this Python. ``packages``: a folder of packages that programs may import, or empty.

    Raises:
        OSError, subprocess.SubprocessError, ValueError: the interpreter could not be asked.
    """
    executable = os.path.realpath(sys.executable)
    command = [executable, *FLAGS, "-c", _QUERY]
    answer = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=True).stdout
    sys_path, prefix = json.loads(answer)
    library = os.path.dirname(os.__file__)
    added = [os.path.realpath(packages)] if packages else []
    system = [path for path in (*_SYSTEM_LIBRARIES, *_SYSTEM_DATA) if os.path.exists(path)]
    own = [path for path in (f"{prefix}/lib", *sys_path) if os.path.exists(path)]
    hidden = [
        path
        for folder in (*own, "/usr/lib/python3", "/usr/local/lib/python3")
        for pattern in (f"{folder}/{{}}", f"{folder}/python3*/{{}}")
        for name in _THIRD_PARTY
        for path in glob.glob(pattern.format(name))
        if path not in added
    ]
    readable, listed = [*system, *added], []
    if not _below(library, system):
        listed.append(library)
        readable += [f"{library}/{name}" for name in os.listdir(library) if name not in _THIRD_PARTY]
        readable += glob.glob(f"{prefix}/lib/*.so*")
    return Interpreter(
        executable=executable,
        sys_path=(*sys_path, *added),
        read_only=_outermost([*system, *own, *added]),
        readable=tuple(readable),
        readable_system=(*system, *added),
        listed=tuple(listed),
        hidden=tuple(dict.fromkeys(hidden)),
        open_to_all=_open_to_all(library),
    )


def _counts_threads(tier: str, slot_id: int | None) -> bool:
    """Whether the kernel can count a program's threads apart from what else its user runs."""
    if slot_id is not None:
        return True
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    return tier == "namespaces" and release >= (5, 14)


def _stage(read_only: tuple[str, ...]) -> str:
    """A folder to build a new root on that hides none of what goes into it."""
    for folder in _STAGES:
        if os.path.isdir(folder) and not any(_below(path, [folder]) for path in read_only):
            return folder
    raise OSError(f"none of {', '.join(_STAGES)} is free to build a root directory on")


def _outermost(paths: list[str]) -> tuple[str, ...]:
    """Without those that are below another one."""
    return tuple(path for path in dict.fromkeys(paths) if not _below(path, [each for each in paths if each != path]))


def _below(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _open_to_all(library: str) -> bool:
    parents = itertools.accumulate(library.split("/")[1:], lambda above, name: f"{above}/{name}", initial="")
    return all(os.stat(folder or "/").st_mode & 0o001 for folder in parents) and bool(
        os.stat(f"{library}/os.py").st_mode & 0o004
    )


def _largest_id() -> int:
    with open("/proc/self/uid_map") as file:
        ranges = [[int(word) for word in line.split()] for line in file]
    return max(inside + count - 1 for inside, _, count in ranges)
