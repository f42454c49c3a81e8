"""The demo under each preset of ``conf/algorithm/``, with the same seeds, as one table::

    python -m benchmarks.algorithms                          # all presets, seeds 0 to 2, 100 steps: hours on two cores
    python -m benchmarks.algorithms --presets grpo gdpo --seeds 0 --steps 3 --out /tmp/algorithms.md
    python -m benchmarks.algorithms --runs runs/two -- algorithm.updates_per_batch=2 stream=asynchronous

A run that is there already is not made again, so a sweep that ended early goes on where it was. A run that fails, or
ends worse than it began, is shown with the others.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.tracking.history import RunHistory, load_history
from tracelift_ray.tracking.run_dir import RunDirectoryError

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "results" / "algorithms.md"
#: ``grpo`` first; those of the released trainers bring batches and a reward of their own.
PRESETS = tuple(
    sorted(
        (path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml") if not path.stem.startswith("paper_")),
        key=lambda name: (name != "grpo", name),
    )
)
TASKS = ("math", "code")
#: The demo's batches: a preset that a command names comes with its own.
BATCHES = ("algorithm.groups_per_step=24", "algorithm.group_size=8")
#: The same at every step, so that runs of any length compare.
RATE = ("learner.lr=3.0e-4", "learner.schedule=constant")
#: Steps between evaluations, which is how finely "steps to" is measured.
EVERY = 10
GOAL = 0.9
#: A run whose accuracy ends so far below its start in a task has collapsed.
COLLAPSE = 0.05
MISSING = "-"


@dataclass(frozen=True)
class Run:
    """One preset under one seed; ``history`` is None where nothing can be read, ``failure`` empty where it ended."""

    preset: str
    seed: int
    history: RunHistory | None
    failure: str

    def accuracy(self, task: str) -> list[float]:
        """Held-out accuracy, evaluation by evaluation."""
        return self.history.series(f"evaluation/{task}/accuracy")[1] if self.history else []

    def last(self, task: str, metric: str) -> float | None:
        """A held-out metric at the end."""
        values = self.history.series(f"evaluation/{task}/{metric}")[1] if self.history else []
        return values[-1] if values else None

    def steps_to_goal(self, task: str) -> int | None:
        """The first evaluated step with an accuracy of ``GOAL``."""
        steps, values = self.history.series(f"evaluation/{task}/accuracy") if self.history else ([], [])
        return next((step for step, value in zip(steps, values, strict=True) if value >= GOAL), None)

    @property
    def largest_drop(self) -> float | None:
        """How far the accuracy of a task fell below what it had reached before, at worst."""
        series = map(self.accuracy, TASKS)
        drops = [max(values[: i + 1]) - value for values in series for i, value in enumerate(values)]
        return max(drops, default=None)

    @property
    def collapsed(self) -> bool:
        """Whether it failed, or ended worse than it began."""
        ends = [values[0] - values[-1] for values in map(self.accuracy, TASKS) if values]
        return bool(self.failure) or not ends or max(ends) > COLLAPSE


def command(preset: str, seed: int, steps: int, runs: Path, overrides: Sequence[str]) -> list[str]:
    """The command line of one run."""
    return [
        *(sys.executable, "-m", "launch.train", "experiment=quickstart", f"algorithm={preset}", *BATCHES),
        *(*RATE, f"evaluation.every={EVERY}", *overrides),
        *(f"name={preset}_{seed}", f"seed={seed}", f"total_steps={steps}", f"runs_root={runs}"),
    ]


def run(preset: str, seed: int, steps: int, runs: Path, overrides: Sequence[str]) -> Run:
    """Make one run, unless it is there."""
    folder = runs / f"{preset}_{seed}"
    found = _history(folder)
    if found is not None and found.evaluations and found.evaluations[-1].step >= steps:
        return Run(preset, seed, found, "")
    print(f"{preset}, seed {seed}", flush=True)
    done = subprocess.run(
        command(preset, seed, steps, runs, overrides), cwd=ROOT, text=True, capture_output=True, check=False
    )
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    failure = f"exit code {done.returncode}: {lines[-1] if lines else ''}" if done.returncode else ""
    if failure:
        print(f"  {failure}", flush=True)
    return Run(preset, seed, _history(folder), failure)


def _history(folder: Path) -> RunHistory | None:
    try:
        return load_history(folder)
    except RunDirectoryError:
        return None


def over_seeds(values: Sequence[float | None], decimals: int = 3) -> str:
    """Mean, and the range where there is one; of the runs that have a value."""
    found = [value for value in values if value is not None]
    if not found:
        return MISSING
    mean, low, high = (f"{f(found):.{decimals}f}" for f in (statistics.fmean, min, max))
    return mean if low == high else f"{mean} [{low}, {high}]"


def table(runs: Sequence[Run]) -> str:
    """One row for each preset."""
    metrics = [(task, metric) for metric in ("accuracy", "trace_validity") for task in TASKS]
    head = ["preset", *(f"{metric.replace('trace_', '')}, {task}" for task, metric in metrics)]
    head += [*(f"steps to {GOAL}, {task}" for task in TASKS), "largest drop", "collapsed"]
    rows = [head, ["---", *["--:"] * (len(head) - 1)]]
    for preset in dict.fromkeys(each.preset for each in runs):
        own = [each for each in runs if each.preset == preset]
        steps = [[each.steps_to_goal(task) for each in own] for task in TASKS]
        rows.append(
            [
                f"`{preset}`",
                *(over_seeds([each.last(task, metric) for each in own]) for task, metric in metrics),
                *(", ".join(MISSING if step is None else str(step) for step in some) for some in steps),
                over_seeds([each.largest_drop for each in own]),
                ", ".join(f"seed {each.seed}" for each in own if each.collapsed) or "none",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page(runs: Sequence[Run], steps: int, overrides: Sequence[str]) -> str:
    """The text of the results page."""
    seeds = ", ".join(map(str, sorted({each.seed for each in runs})))
    changed = f"`{' '.join(overrides)}`" if overrides else "nothing else changed"
    absent = ", ".join(f"`{name}`" for name in PRESETS if name not in {each.preset for each in runs})
    failures = [f"- `{each.preset}`, seed {each.seed}: {each.failure}" for each in runs if each.failure]
    text = f"""# The demo under each algorithm

Written by `python -m benchmarks.algorithms`. The presets of [algorithms.md](../algorithms.md) in the world of
`make demo`, which was chosen to show the effect of the reward ([demo.md](../demo.md)) and says little about algorithms
elsewhere.

{steps} steps of 24 groups of 8, seeds {seeds}, learning rate 3e-4, all else as in `experiment=quickstart`, with
{changed}.
Figures are those of the held-out problems after the last step: the mean over seeds, and [lowest, highest].

- *Steps to {GOAL}*: the first evaluation, one every {EVERY} steps, with that accuracy, seed by seed.
- *Largest drop*: how far the accuracy of either task fell below what it had reached before.
- *Collapsed*: the run failed, or the accuracy of a task ended more than {COLLAPSE} below its start.

{table(runs)}
"""
    text += f"\nNot run here: {absent}.\n" if absent else ""
    return text + ("\nFailed runs:\n\n" + "\n".join(failures) + "\n" if failures else "")


def main() -> None:
    """Run what is missing, and write the page after every preset."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "algorithms", help="where the runs are kept")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="further overrides of every run, after --")
    options = parser.parse_args()
    runs: list[Run] = []
    for preset in options.presets:
        for seed in options.seeds:
            runs.append(run(preset, seed, options.steps, options.runs.absolute(), options.overrides))
        options.out.write_text(page(runs, options.steps, options.overrides), "utf-8")
    print(table(runs))


if __name__ == "__main__":
    main()
