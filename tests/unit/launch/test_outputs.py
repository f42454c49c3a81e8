"""A command that writes a directory tries whether it can, before it does hours of work for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from launch import build_groups, evaluate, merge, train, train_rm, warm_start
from launch.conf_files import CONFIG_DIR
from tests.commands import run_command

PLANNER = CONFIG_DIR.parent / "tracelift_ray" / "demo" / "checkpoints" / "planner"


@pytest.mark.parametrize(
    ("main", "key", "arguments"),
    [
        (train.main, "run_dir", ("experiment=quickstart",)),
        (evaluate.main, "out", ("experiment=quickstart", f"checkpoint={PLANNER}")),
        (warm_start.main, "output", (f"model={PLANNER}", "examples=problems.jsonl")),
        (train_rm.main, "output", (f"model={PLANNER}", "groups=problems.jsonl")),
        (merge.main, "out", (f"base={PLANNER}", f"adapter={PLANNER}")),
        (build_groups.main, "out", ("source=problems.jsonl",)),
    ],
    ids=["train", "evaluate", "warm-start", "train-rm", "merge", "build-groups"],
)
@pytest.mark.parametrize("out", ["/proc/none/out", "problems.jsonl", f"problems.jsonl/{'n' * 300}"])
def test_a_place_that_takes_nothing_is_one_line_before_the_work(
    main: Callable[[], NoReturn],
    key: str,
    arguments: tuple[str, ...],
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.jsonl").write_text('{"question": "1+1?", "answer": "1+1=2\\n#### 2"}\n')
    done = run_command(main, *arguments, f"{key}={out}")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {key}=") and done.stderr.count("\n") == 1
    assert f"give another {key}" in done.stderr or "must not exist yet" in done.stderr
