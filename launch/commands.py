"""The commands of the project, one line of a table each: what ``tracelift`` and ``python -m launch`` know of them.

Importing this module imports no command and nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed; its module in ``launch/`` has the same name with underscores.
        summary: what it does, in a line.
        examples: its arguments in examples that a user can change, the shortest first.
        changed: the fields that are changed most often, by dotted key.
        page: the page in ``docs/`` that explains it.
        config: its file in ``conf/``; None where it reads no configuration.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    changed: tuple[str, ...]
    page: str
    config: str | None

    @property
    def module(self) -> str:
        """The module whose ``main`` it is."""
        return f"launch.{self.name.replace('-', '_')}"


def _configured(
    name: str, summary: str, examples: tuple[str, ...], changed: str, page: str, config: str | None = None
) -> Command:
    """A command with a configuration, called as the command unless ``config`` says otherwise."""
    return Command(name, summary, examples, tuple(changed.split()), page, config or name.replace("-", "_"))


_ALL = (
    _configured(
        "train",
        "train a planner with executor-grounded rewards",
        (
            "experiment=quickstart total_steps=3",
            "reward=exec_only seed=1 experiment=quickstart",
            "-m experiment=quickstart reward=tracelift,exec_only seed=0,1,2",
            "experiment=paper_math planner.model=DIR executor.model=DIR reasoning_rm.model=DIR data.train=[FILE] "
            "dry_run=true",
        ),
        "name seed total_steps runs_root run_dir resume dry_run planner.model planner.prompt executor.model "
        "executor.prompt reasoning_rm.model data.train data.heldout algorithm.groups_per_step algorithm.group_size "
        "learner.lr stream.max_staleness evaluation.every",
        "configuration",
        "config",
    ),
    _configured(
        "submit",
        "submit a training run to a Ray cluster as a job, and follow it",
        (
            "address=http://HEAD:8265 experiment=quickstart total_steps=3 runs_root=/shared/runs",
            "address=http://HEAD:8265 secrets=[WANDB_API_KEY] check_files=false experiment=paper_math "
            "runs_root=/shared/runs planner.model=/shared/DIR executor.model=/shared/DIR "
            "reasoning_rm.model=/shared/DIR data.train=[/shared/FILE]",
        ),
        "address secrets check_files follow runs_root name total_steps",
        "on_a_cluster",
    ),
    _configured(
        "evaluate",
        "measure a planner with its executor, on held-out problems or published files",
        ("checkpoint=runs/mine/checkpoints/step-000100 benchmarks=[gsm8k/test.jsonl] limit=200",),
        "checkpoint benchmarks limit traces pass_at against other_executor.model out evaluation.num_samples",
        "evaluation",
    ),
    _configured(
        "chat",
        "type a problem, see the trace, and what the executor makes of it",
        (
            "checkpoint=runs/quickstart/checkpoints/step-000040",
            "checkpoint=DIR task=code answers=5 planner.sampling.temperature=0.7",
        ),
        "checkpoint task answers greedy planner.sampling.temperature executor.model executor.prompt",
        "commands",
    ),
    _configured(
        "warm-start",
        "teach a planner to write tagged traces, by supervised training",
        ("model=DIR examples=train.jsonl output=models/planner",),
        "model examples output steps lr batch_size",
        "learner",
    ),
    _configured(
        "train-rm",
        "train the reasoning reward model from TraceLift-Groups",
        ("model=DIR groups=groups/train.jsonl heldout_groups=groups/heldout.jsonl output=models/rm",),
        "model groups heldout_groups output epochs lr device",
        "reasoning_rm",
    ),
    _configured(
        "build-groups",
        "build TraceLift-Groups from problems",
        ("source=train.jsonl out=groups",),
        "source format out overwrite limit heldout_fraction traces.kind",
        "data",
    ),
    _configured(
        "serve-rm",
        "serve rubric scores over HTTP",
        ("reasoning_rm.model=models/rm port=8000",),
        "host port task reasoning_rm.model",
        "reasoning_rm",
    ),
    _configured(
        "rm-report",
        "say whether a reasoning RM is honest, on held-out groups and on a run",
        ("model=models/rm groups=groups/heldout.jsonl run=runs/mine",),
        "model groups run trace_only backbone",
        "reasoning_rm",
    ),
    Command(
        "report",
        "report a run, or compare several: tables, pictures, and a page to read the traces in",
        ("runs/quickstart", "runs/quickstart runs/exec_only --out compared"),
        (),
        "report",
        None,
    ),
    _configured(
        "merge",
        "merge adapters into their base model",
        ("base=DIR adapter=runs/mine/checkpoints/step-000100/planner out=models/merged",),
        "base adapter out",
        "learner",
    ),
    _configured(
        "doctor",
        "look at this machine, and at a Ray cluster, before a run does",
        ("", "runs_root=/shared/runs address=http://HEAD:8265"),
        "runs_root address sandbox.tier",
        "commands",
    ),
    _configured(
        "sandbox",
        "show which sandbox tiers hold on this machine",
        ("", "attacks=tests/integration/sandbox/attacks sandbox.memory_mib=512 sandbox.output_kib=8192"),
        "attacks only sandbox.tier",
        "security",
    ),
    _configured(
        "simulate",
        "run the whole loop on a virtual clock, with faults that a seed draws",
        ("seeds=1000", "seed=17 verbose=true"),
        "seeds first seed steps verbose processes",
        "simulation",
    ),
    _configured(
        "chaos",
        "kill and stop the processes of a short run at random, and check what became of it",
        ("seed=0", "seed=1 faults=2 kinds=[learner,driver] signals=[kill]"),
        "seed faults steps run_dir kinds signals patience_s overrides",
        "simulation",
    ),
    _configured(
        "capacity",
        "say which split of GPUs between the pools would be fastest, in simulation",
        ("gpus=64", "gpus=128 max_staleness=2 workload.traces.mean=2000 workload.planner.alone_s=0.02"),
        "gpus groups_per_step group_size max_staleness workload.traces.mean workload.artifacts.mean "
        "workload.train_token_s",
        "simulation",
    ),
)
#: By name, in the order of the list that a user sees.
COMMANDS = {command.name: command for command in _ALL}


def command_of(config: str) -> Command:
    """The command that reads a file of ``conf/``."""
    return next(command for command in _ALL if command.config == config)
