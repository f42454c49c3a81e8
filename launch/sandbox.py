"""Shows which sandbox tiers hold on this machine: ``python -m launch.sandbox [sandbox.tier=TIER]``.

Each tier is started, and its controls are run. With ``attacks=DIR`` the programs of the corpus there (a folder with a
``manifest.json``) run in the tier that would be used. Exit code 1 where no tier holds, or where a program got a verdict
that the corpus does not allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.planning.checks import check_sandbox
from tracelift_ray.verification.runners import RUNNERS


@dataclass(frozen=True)
class SandboxCommandConfig:
    """The sandbox of a machine, and a corpus of programs to try in it."""

    attacks: str | None
    only: tuple[str, ...]
    sandbox: SandboxConfig


@entry_point("sandbox")
def main(cfg: DictConfig) -> int:
    """Probe, and run a corpus where one is given."""
    command = to_dataclass(SandboxCommandConfig, cfg)
    config = command.sandbox
    check_sandbox(config)
    if not RUNNERS[config.runner].local:
        raise ConfigError("sandbox.runner", config.runner, "must be one that runs programs on this machine")
    from tracelift_ray.verification.corpus.run import run_corpus
    from tracelift_ray.verification.sandbox.probe import choose, probe_tier
    from tracelift_ray.verification.sandbox.tiers import TIERS

    if config.tier == "auto":
        for tier in TIERS:
            print(probe_tier(tier, config).line())
    policy, reports = choose(config)
    if config.tier != "auto":
        print(reports[0].line())
    print(f"in use: {policy.tier}")
    if command.attacks is None:
        return 0
    findings = run_corpus(Path(command.attacks).absolute(), config, print, command.only)
    return int(any(finding.problems for finding in findings))


if __name__ == "__main__":
    main()
