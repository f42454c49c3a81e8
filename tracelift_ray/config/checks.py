"""Rules that a single type cannot say: allowed words, ranges, and fields that must fit each other.

``check_run`` raises ``ConfigError`` at the first broken rule. It reads nothing but the names and sizes of files and
imports nothing heavy, so that a wrong configuration is refused at once, before any actor starts.
"""

from __future__ import annotations

from tracelift_ray.config.schema import RunConfig


def check_run(config: RunConfig) -> None:
    """Check every rule.

    Raises:
        ConfigError: the first rule that does not hold.
    """
