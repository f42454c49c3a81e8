"""A real model that learns on two cores: chain sums of reasoning-gym, SmolLM2-135M-Instruct with adapters::

    python -m benchmarks.arithmetic                               # everything, hours on two cores
    python -m benchmarks.arithmetic --steps 10 --seeds 0 --problems 100

Makes the problems, a planner warm-started on the generator's own worked steps, and a reasoning RM from groups built of
them by rules; trains ``experiment=arithmetic_smollm2_cpu`` under each arm and seed; evaluates every planner on held-out
problems; writes ``docs/results/arithmetic.md`` and its curves. What is there already is not made again, and a training
that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pages import write_part
from tracelift_ray.data.gym import gym_problems
from tracelift_ray.errors import DataError
from tracelift_ray.evaluation.results import RECORDS
from tracelift_ray.evaluation.statistics import bootstrap
from tracelift_ray.tracking.history import RunHistory, load_history

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "models" / "arithmetic"
BASE = ROOT / "models" / "smollm2-135m-instruct"
RUNS = ROOT / "runs" / "arithmetic"
OUT = ROOT / "docs" / "results" / "arithmetic.md"
ARMS = ("tracelift", "exec_only")
#: Sums of three or four terms of one or two digits: see the results for what the models can do with them.
GENERATOR = "gym:chain_sum?min_terms=3&max_terms=4&min_digits=1&max_digits=2"
TRAIN, HELDOUT = 2_000, 200
_EXPRESSION = re.compile(r"-?\d+(?: [+-] \d+)+")
_WITHHELD = re.compile(r"((-?\d+) ([+-]) (\d+) =) \?")
_STEP = re.compile(r"(-?\d+) ([+-]) (\d+) = (-?\d+)")


def steps(expression: str) -> list[str]:
    """The worked steps of a chain sum, from left to right: ``4 - 1 - 7`` is ``4 - 1 = 3`` and ``3 - 7 = -4``."""
    first, *rest = expression.split()
    total, lines = int(first), []
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        result = total + int(term) if sign == "+" else total - int(term)
        lines.append(f"{total} {sign} {term} = {result}")
        total = result
    return lines


def validity(statement: str, trace: str | None) -> tuple[bool, float]:
    """Whether a trace says exactly the right steps, and the share of its calculations that are right."""
    written = [match.group(0) for match in _STEP.finditer(trace or "")]
    right = [_right(*match.groups()) for match in _STEP.finditer(trace or "")]
    return written == steps(_expression(statement)), sum(right) / len(right) if right else 0.0


def _expression(statement: str) -> str:
    found = _EXPRESSION.search(statement)
    assert found is not None
    return found.group(0)


def _right(left: str, sign: str, term: str, result: str) -> bool:
    return int(result) == _result(left, sign, term)


def make_problems() -> None:
    """Training and held-out problems with worked steps, in the project's own form; no statement is in both."""
    drawn, _ = gym_problems(GENERATOR, 2 * (TRAIN + HELDOUT), 0, "train")
    statements = {problem.statement: problem for problem in drawn}
    records = [
        {
            "id": problem.id,
            "task": "math",
            "statement": statement,
            "answer": problem.answer,
            "solution": "\n".join(steps(_expression(statement))),
        }
        for statement, problem in statements.items()
    ]
    MADE.mkdir(parents=True, exist_ok=True)
    for name, some in (("heldout", records[:HELDOUT]), ("train", records[HELDOUT : HELDOUT + TRAIN])):
        (MADE / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in some), "utf-8")


def make_models() -> None:
    """The warm-started planner and the reasoning RM."""
    train = MADE / "train.jsonl"
    command(
        *("launch.warm_start", f"model={BASE}", f"examples={train}", f"output={MADE / 'planner'}", "prompt=chat"),
        *("max_examples=400", "steps=40", "batch_size=8", "lr=1e-4", "eval_problems=16", "eval_tokens=64"),
        done=MADE / "planner",
    )
    groups = MADE / "groups"
    command("launch.build_groups", f"source={train}", f"out={groups}", "limit=800", done=groups / "train.jsonl")
    whole = {name: MADE / f"groups_{name}.jsonl" for name in ("train", "heldout")}
    for name, path in whole.items():
        path.write_text(completed((groups / f"{name}.jsonl").read_text("utf-8")), "utf-8")
    command(
        *("launch.train_rm", f"model={BASE}", f"groups={whole['train']}", f"heldout_groups={whole['heldout']}"),
        *(f"output={MADE / 'reasoning_rm'}", "max_steps=80", "groups_per_step=4", "micro_batch_tokens=1300"),
        *(
            "lora.rank=16",
            "lr=5e-4",
            "head_lr=1e-3",
            "warmup_steps=8",
            "max_length=256",
            "eval_every=80",
            "wandb=disabled",
        ),
        done=MADE / "reasoning_rm",
    )


def completed(groups: str) -> str:
    """Groups whose traces go on to the last result, as the planner's do; after a flaw to what follows from it."""
    return _WITHHELD.sub(lambda match: f"{match.group(1)} {_result(*match.groups()[1:])}", groups)


def _result(left: str, sign: str, term: str) -> int:
    return int(left) + int(term) if sign == "+" else int(left) - int(term)


def command(module: str, *arguments: str, done: Path) -> None:
    """Run one of the project's commands unless what it makes is there."""
    if done.exists():
        return
    print(f"python -m {module} {' '.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=False).returncode
    if code:
        sys.exit(f"python -m {module} ended with exit code {code}, see above; the same command goes on from here")


@dataclass(frozen=True)
class Planner:
    """An evaluated planner: the warm start, or the end of a run."""

    arm: str
    seed: int
    records: tuple[dict[str, Any], ...]

    def values(self, measure: str) -> list[float]:
        """One value for each held-out problem that has it; an evaluation without the RM has no scores."""
        values = (MEASURES[measure](record) for record in self.records)
        return [value for value in values if value is not None]


def _success(outcomes: Sequence[str]) -> float:
    return sum(outcome == "passed" for outcome in outcomes) / len(outcomes)


#: By record of ``launch.evaluate``; ``statement`` is added to it.
MEASURES: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "accuracy with trace": lambda record: _success(record["with_trace"]),
    "accuracy without": lambda record: _success(record["without_trace"]),
    "uplift": lambda record: _success(record["with_trace"]) - _success(record["without_trace"]),
    "RM score": lambda record: record["traces"][0].get("rm_score"),
    "all steps right": lambda record: float(validity(record["statement"], record["traces"][0]["text"])[0]),
    "steps right": lambda record: validity(record["statement"], record["traces"][0]["text"])[1],
}


def train(arm: str, seed: int, total_steps: int, overrides: Sequence[str]) -> Path:
    """The directory of one run, which is made or gone on with."""
    folder = RUNS / f"{arm}_{seed}"
    command(
        *("launch.train", "experiment=arithmetic_smollm2_cpu", f"reward={arm}", f"seed={seed}"),
        *(f"total_steps={total_steps}", f"run_dir={folder}", *_reward(arm), *overrides),
        done=folder / "checkpoints" / f"step-{total_steps:06d}",
    )
    return folder


def _reward(arm: str) -> tuple[str, ...]:
    return ("reward.num_samples=2",) if arm == "tracelift" else ()


def evaluate(arm: str, seed: int, planner: Path, problems: int) -> Planner:
    """A planner on the held-out problems, with the executor and the RM of the experiment."""
    out = RUNS / "evaluations" / f"{arm}_{seed}_{planner.name}_{problems}"
    command(
        *("launch.evaluate", f"checkpoint={planner}", f"benchmarks=[{MADE / 'heldout.jsonl'}]", f"out={out}"),
        *("experiment=arithmetic_smollm2_cpu", "evaluation.num_samples=3", f"limit={problems}"),
        done=out / "results.json",
    )
    statements = {record["id"]: record["statement"] for record in _lines(MADE / "heldout.jsonl")}
    records = tuple({**record, "statement": statements[record["id"]]} for record in _lines(out / RECORDS))
    return Planner(arm, seed, records)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text("utf-8").splitlines())


def table(planners: Sequence[Planner]) -> str:
    """A row for each planner; each cell is a mean over problems with its 95 % bootstrap interval."""
    head = ["planner", "seed", *MEASURES]
    rows = [head, ["---", *["--:"] * (len(head) - 1)]]
    for each in planners:
        cells = [_cell(each.values(name)) for name in MEASURES]
        rows.append([each.arm, "" if each.seed < 0 else str(each.seed), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    interval = bootstrap(values, confidence=0.95, resamples=2_000)
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def curves(runs: Sequence[tuple[str, int, RunHistory]], path: Path) -> None:
    """Held-out accuracy and uplift, and the rollouts' success and RM score, over the steps of every run."""
    from tracelift_ray.plotting import COLOURS, picture, smoothed

    panels = (
        ("held-out accuracy with trace", "evaluation/math/accuracy"),
        ("held-out uplift", "evaluation/math/uplift"),
        ("rollout: success with trace, smoothed", "system/success"),
        ("rollout: malformed traces, smoothed", "system/malformed"),
    )
    with picture(path, 2, 2, (11.0, 7.0)) as (_, axes):
        for axis, (title, name) in zip((each for row in axes for each in row), panels, strict=True):
            axis.set_title(title)
            for arm, seed, history in runs:
                at, values = history.series(name)
                drawn = values if name.startswith("evaluation") else smoothed(values)
                colour, style = COLOURS[ARMS.index(arm)], ("-", "--", ":")[seed % 3]
                axis.plot(at, drawn, style, color=colour, label=f"{arm}, seed {seed}")
            axis.set_xlabel("step")
        axes[0][0].legend()


def page(planners: Sequence[Planner], total_steps: int, picture_name: str) -> str:
    """The text between the markers of the results page."""
    seeds = ", ".join(map(str, sorted({each.seed for each in planners if each.seed >= 0})))
    return f"""{total_steps} steps of 4 groups of 8, seeds {seeds}. {len(planners[0].records)} held-out problems with
one greedy trace and three executor samples each; means over problems with 95 % bootstrap intervals.

{table(planners)}

![curves]({picture_name})
"""


def main() -> None:
    """Make what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--problems", type=int, default=HELDOUT, help="held-out problems of the last evaluation")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="further overrides of every run, after --")
    options = parser.parse_args()
    if not (MADE / "train.jsonl").exists():
        try:
            make_problems()
        except DataError as error:  # such as a package that is not installed
            raise SystemExit(str(error)) from None
    make_models()
    planners = [evaluate("warm start", -1, MADE / "planner", options.problems)]
    runs = []
    for seed in options.seeds:  # every arm of a seed before the next seed, so that an end in between compares arms
        for arm in ARMS:
            folder = train(arm, seed, options.steps, options.overrides)
            last = folder / "checkpoints" / f"step-{options.steps:06d}" / "merged"
            planners.append(evaluate(arm, seed, last, options.problems))
            runs.append((arm, seed, load_history(folder)))
            image = options.out.with_suffix(".png")
            curves(runs, image)
            write_part(options.out, "runs", page(planners, options.steps, image.name))


if __name__ == "__main__":
    main()
