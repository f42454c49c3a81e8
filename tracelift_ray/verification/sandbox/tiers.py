"""The tiers of the sandbox, by how programs are kept from the machine. Light to import.

``namespaces``: user and other namespaces with a separate root, seccomp and Landlock. ``landlock``: seccomp and Landlock
alone, which need no privilege. ``unsafe_subprocess``: no isolation.
"""

from __future__ import annotations

#: From the strongest to the weakest; ``auto`` never takes the last one.
TIERS = ("namespaces", "landlock", "unsafe_subprocess")
SAFE_TIERS = TIERS[:2]
UNSAFE = TIERS[2]
