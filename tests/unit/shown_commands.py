"""The commands that README and docs show, line by line, and what runs those that ``test_docs_commands.py`` does not.

A block without a language, or in ``bash``, holds commands and nothing else; what a command prints is in a block of
``text``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.unit.test_docs import PAGES, ROOT

#: For a module of ``launch``, the tests that run it, in its own process or by its ``main``: the first calls it, and
#: between them they name every setting that a page shows it with.
RUN_BY: dict[str, tuple[str, ...]] = {
    "build_groups": ("tests/unit/dataset/test_build_groups_command.py", "tests/integration/test_build_groups.py"),
    "capacity": ("tests/unit/simulation/test_capacity.py",),
    "chaos": ("tests/unit/launch/test_chaos.py", "tests/integration/test_chaos.py"),
    "chat": ("tests/unit/chat/test_chat.py",),
    "doctor": ("tests/unit/doctor/test_doctor.py",),
    "evaluate": ("tests/integration/test_evaluate.py", "tests/unit/evaluation/test_command.py"),
    "merge": ("tests/unit/lora/test_directory.py",),
    "report": ("tests/unit/test_docs_commands.py",),
    "rm_report": ("tests/unit/reasoning_rm/test_report_command.py", "tests/unit/reasoning_rm/test_report.py"),
    "sandbox": ("tests/integration/sandbox/test_attacks.py",),
    "serve_rm": ("tests/integration/test_scoring_service.py",),
    "simulate": ("tests/unit/simulation/test_simulation.py",),
    "submit": ("tests/integration/test_ray_job.py", "tests/unit/launch/test_submit.py"),
    "train_rm": (
        "tests/integration/test_train_rm.py",
        "tests/rm_groups.py",
        "tests/unit/reasoning_rm/test_training_run.py",
    ),
    "wandb_workspace": ("tests/unit/tracking/test_wandb_workspace.py",),
    "warm_start": ("tests/integration/test_warm_start.py",),
}
_RAY_JOB = "tests/integration/test_ray_job.py"
_TABLE = "tests/unit/launch/test_commands.py"
#: For every other command, by its first words (one word: by that alone): the file that runs it, or what stands for it
#: where it is not to be had, with words of that file; or what it needs, so that nothing runs it and the page says so.
OTHERS: dict[str, tuple[str, str] | str] = {
    "make demo": ("tests/unit/test_docs_commands.py", 'startswith("make demo")'),
    "make test": (".ci/run", "make test"),
    "make test-unit": (".ci/run", "make test"),
    "make test-gpu": "needs GPUs",
    "make setup DEVICE=gpu": "needs GPUs",
    "make bench": ("tests/unit/benchmarks/test_bench.py", "from benchmarks import all"),
    "make smollm2": ("tests/unit/launch/test_fetch_smollm2.py", "fetch_smollm2"),
    "make lock": "needs a package index",
    "make docs && python -m pytest": "needs playwright and a Chromium",
    "tracelift": (_TABLE, "test_it_lists_every_command_at_once"),
    "tracelift COMMAND": (_TABLE, 'run(name, "--help")'),
    'eval "$(tracelift --completion bash)"': (_TABLE, 'eval "$(tracelift --completion bash)"'),
    'eval "$(tracelift --completion zsh)"': (_TABLE, 'eval "$(tracelift --completion zsh)"'),
    "python -m pytest": (".ci/run", "make test"),
    "KUBERAY_CRD=rayjobs.yaml python": "needs the file of the line above",
    "export RAY_AUTH_MODE=token": (_RAY_JOB, '"RAY_AUTH_MODE": "token"'),
    "ray get-auth-token --generate": ("tests/unit/launch/test_submit.py", '"get-auth-token", "--generate"'),
    "ray start --head": (_RAY_JOB, '"start", "--head"'),
    "ray job submit": (_RAY_JOB, 'head.ray("submit", *spec'),
    "sbatch launch/specs/slurm.sh": ("tests/unit/launch/test_slurm.py", '["/bin/bash", str(SCRIPT)'),
    "sbatch --nodes=2 launch/specs/slurm.sh": ("tests/unit/launch/test_slurm.py", "SLURM_NNODES=machines"),
    "kubectl apply -f launch/specs/kuberay_rayjob.yaml": "needs 8 GPUs",
    "kubectl get": "needs a cluster",
    "docker build": "needs Docker",
    "nvidia-smi -L": "needs GPUs",
    "curl -s": ("tests/integration/test_scoring_service.py", '"max_length": 3072, "batch_size": 8'),
    "vllm serve": ("tests/integration/test_openai_engine.py", '"vllm.entrypoints.openai.api_server", "--model"'),
    "pip install": "needs a package index",
    "tensorboard --logdir": "needs TensorBoard",
    # Its plan imports vLLM in another process, which takes ten seconds.
    "python -m launch.train … +executor.engine.extra.quantization=fp8": (
        "tests/unit/engines/test_vllm_extra.py",
        "+executor.engine.extra={block_size:32",
    ),
    # Where the problems come from is not here: a hub, reasoning-gym.
    "python -m launch.train data=jsonl 'data.train=[\"hub:openai/gsm8k:main\"]'": (
        "tests/unit/data/test_rows.py",
        'load_problems("hub:openai/gsm8k:main@test"',
    ),
    'python -m launch.train data=jsonl \'data.train=["gym:chain_sum?max_terms=3","gym:letter_counting"]\'': (
        "tests/unit/data/test_gym.py",
        'train=("gym:sums?largest=500",)',
    ),
    "python -m launch.train data=jsonl 'data.train=[mine.jsonl,\"gym:chain_sum\"]'": (
        "tests/unit/data/test_gym.py",
        'ENDLESS = "gym:',
    ),
    "python -m launch.wandb_workspace --save": "needs wandb login",
}


@dataclass(frozen=True)
class Shown:
    """One command of a page.

    Attributes:
        page: where it stands, from the root.
        text: the whole command on one line, without its comment.
        comment: what the page says behind it.
    """

    page: str
    text: str
    comment: str

    @property
    def called(self) -> tuple[str, list[str]] | None:
        """A module of the project and its arguments, wherever in the line it is called; None: it calls none.

        A word that a page leaves out (``…``) is left out, a name gets one, and an option in brackets is taken.
        """
        found = re.search(r"(?:^| )(?:tracelift|python -m(?: launch|(?= launch\.| bench| tracelift))) (\S+)", self.text)
        if found is None or not re.fullmatch(r"[a-z][\w.-]*", found[1]):
            return None
        module = found[1].replace("-", "_") if "." in found[1] else f"launch.{found[1].replace('-', '_')}"
        rest = re.sub(r"\[(--[^]]*)\]", r"\1", self.text[found.end() :].partition(" | ")[0])
        return module, [word.replace("…", "NAME") for word in shlex.split(rest) if word != "…"]

    @property
    def overrides(self) -> list[str]:
        """The settings among its arguments, those for a script that trains included."""
        words = self.called[1] if self.called else shlex.split(self.text)
        return [word for word in words if re.match(r"[+~]?[a-z][\w.@]*=", word)]

    @property
    def begins(self) -> str | None:
        """The longest key of ``OTHERS`` that it begins with; None: none."""
        begins = [each for each in OTHERS if self.text == each or (" " in each and self.text.startswith(f"{each} "))]
        return max(begins, key=len, default=None)


def shown(page: Path) -> Iterator[Shown]:
    """Every command of a page; variables that a block sets are put in, and the head and end of a loop left out."""
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    for block in _blocks(page.read_text("utf-8")):
        values = {"seed": "0"}
        for text, comment in _whole(block):
            text = " ".join(text.split())
            for variable, value in values.items():
                text = re.sub(rf"\${variable}\b", value, text)
            if assigned := re.fullmatch(r"(\w+)=\"(.*)\"", text):
                values[assigned[1]] = assigned[2]
            elif text and not re.match(r"for \w+ in |done$", text):
                yield Shown(name, text.removeprefix(".venv/bin/"), comment)


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines of each block without a language, or in ``bash``."""
    block: list[str] | None = None
    language = ""
    for line in text.splitlines():
        fence = re.match(r" *```(.*)", line)
        if fence is None:
            if block is not None:
                block.append(line.strip())
        elif block is None:
            block, language = [], fence[1].strip()
        else:
            if language in ("", "bash"):
                yield block
            block = None


def _whole(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Commands and their comments; one that goes on in the next line, by a backslash or within quotes, is joined."""
    begun = ""
    for line in lines:
        text, comment = (*re.split(r"(?:^|\s+)# ?", line, maxsplit=1), "")[:2]
        begun += text.removesuffix("\\") + " "
        if not text.endswith("\\") and begun.count("'") % 2 == 0:
            yield begun, comment
            begun = ""


COMMANDS = tuple(dict.fromkeys(each for page in PAGES for each in shown(page)))
