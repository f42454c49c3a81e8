import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from launch.report import main
from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.tracking.history import RunHistory, load_history
from tracelift_ray.tracking.report import write_report
from tracelift_ray.tracking.run_dir import RunDirectory, RunDirectoryError
from tracelift_ray.tracking.tables import alike, before_after, comparison, difference
from tracelift_ray.tracking.tracker import Tracker


def make_run(
    path: Path,
    arm: str,
    seed: int,
    final: float,
    *,
    clip_max: float | None = None,
    evaluated: tuple[int, ...] = (0, 10),
    measured: Mapping[str, float] | None = None,
    **settings: object,
) -> Path:
    """A run of ten steps whose math accuracy rises from 0.5 to ``final``; its evaluations ``measured`` more."""
    config = {"name": "tiny", "seed": seed, "reward": {"arm": arm, "clip_max": clip_max}, **settings}
    tracker = Tracker(
        TrackingConfig("disabled", "p", None, 0, 0, "none", False, False, 0.0, 10.0, False, False, 5),
        RunDirectory.create(path),
        10,
        config,
    )
    for step in range(11):
        if step:
            tracker.log_step(step, {"reward/mean": 0.1 * step, "reward/math/mean": 0.1 * step})
        if step in evaluated:
            accuracy = 0.5 + (final - 0.5) * step / 10
            tracker.log_evaluation(
                step,
                {
                    "evaluation/math/accuracy": accuracy,
                    "evaluation/math/accuracy_stderr": 0.04,
                    "evaluation/math/baseline": 0.25,
                    "evaluation/math/uplift": accuracy - 0.25,
                    **(measured or {}),
                },
            )
    tracker.close()
    return path


def test_before_and_after_stand_side_by_side(tmp_path: Path) -> None:
    table = before_after(load_history(make_run(tmp_path / "a", "tracelift", 3, 0.75)))
    assert table is not None and "tracelift, seed 3" in table.title
    assert table.columns[2:] == ("before (step 0)", "after (step 10)", "change")
    assert ("math", "accuracy with trace", "0.500 ± 0.040", "0.750 ± 0.040", "+0.250") in table.rows
    assert ("math", "uplift", "0.250", "0.500", "+0.250") in table.rows
    assert not any(row[1] == "trace validity" for row in table.rows)


#: What evaluations of older runs do not have.
ERRORS = {"evaluation/math/baseline_stderr": 0.02, "evaluation/math/uplift_stderr": 0.03}


def test_every_measure_with_a_standard_error_shows_it_and_older_runs_do_without(tmp_path: Path) -> None:
    new, old = (
        load_history(make_run(tmp_path / name, name, 0, 0.7, measured=each))
        for name, each in (("new", ERRORS), ("old", {}))
    )
    table = before_after(new)
    assert table is not None and table.title.endswith("(± standard error)")
    assert ("math", "accuracy without trace", "0.250 ± 0.020", "0.250 ± 0.020", "+0.000") in table.rows
    assert ("math", "uplift", "0.250 ± 0.030", "0.450 ± 0.030", "+0.200") in table.rows
    both, mixed = difference(new, new), difference(old, new)
    assert both is not None and mixed is not None
    assert ("math", "uplift", "0.450 ± 0.030", "0.450 ± 0.030", "+0.000 [-0.083, +0.083]") in both.rows
    assert ("math", "uplift", "0.450", "0.450 ± 0.030", "+0.000") in mixed.rows


def test_pools_processes_and_nodes_are_no_tasks(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", "tracelift", 3, 0.75)
    with (path / "metrics.jsonl").open("a") as file:
        more = {
            "pools/planner/queued": 1.0,
            "nodes/vm/cpu_percent": 2.0,
            "system/code/leak": 0.0,
            "reward/code/mean": 1.0,
        }
        file.write(json.dumps({"step": 11, "kind": "training", **more}) + "\n")
    assert load_history(path).tasks == ("math", "code")


def test_a_single_evaluation_is_not_compared_with_itself(tmp_path: Path) -> None:
    table = before_after(load_history(make_run(tmp_path / "a", "tracelift", 0, 0.75, evaluated=(10,))))
    assert table is not None and table.columns == ("task", "measure", "step 10")


def test_arms_are_means_over_their_seeds(tmp_path: Path) -> None:
    runs = [
        load_history(make_run(tmp_path / f"{arm}{seed}", arm, seed, final))
        for arm, seed, final in (("tracelift", 1, 0.8), ("tracelift", 0, 0.7), ("exec_only", 0, 0.6))
    ]
    table = comparison(runs)
    assert table.columns == ("task", "measure", "start", "tracelift (seeds 0, 1)", "exec_only (seeds 0)")
    assert table.rows[0] == ("math", "accuracy with trace", "0.500", "0.750 [0.700, 0.800]", "0.600")


def test_runs_that_differ_in_more_than_arm_and_seed_are_not_averaged(tmp_path: Path) -> None:
    runs = [
        load_history(make_run(tmp_path / f"{groups}{seed}", "tracelift", seed, final, algorithm={"groups": groups}))
        for groups, seed, final in ((4, 0, 0.8), (8, 0, 0.6), (4, 1, 0.7))
    ]
    table = comparison(runs)
    assert table.columns[3:] == (
        "tracelift, algorithm.groups=4 (seeds 0, 1)",
        "tracelift, algorithm.groups=8 (seeds 0)",
    )
    assert table.rows[0][3:] == ("0.750 [0.700, 0.800]", "0.600")


#: Settings that differ, and the columns that tell them apart.
APART: dict[str, tuple[list[dict[str, object]], list[str]]] = {
    "mapping empty": (
        [{"algorithm": {"extra": {}}}, {"algorithm": {"extra": {"x": 1}}}],
        ["algorithm.extra={}", "algorithm.extra=…"],
    ),
    "mapping in other keys": (
        [{"algorithm": {"component_weights": each}} for each in ({"code": 0.5}, {"code": 0.5, "math": 2.0})],
        ["algorithm.component_weights={'code': 0.5}", "algorithm.component_weights={'code': 0.5, 'math': 2.0}"],
    ),
    "mapping deep": (
        [{"planner": {"engine": {"extra": each}}} for each in ({}, {"seed": 1})],
        ["planner.engine.extra={}", "planner.engine.extra={'seed': 1}"],
    ),
    "fields": (
        [{"data": {"fields": each}} for each in ({"id": "a"}, {"answer": "a"})],
        ["data.fields={'id': 'a'}", "data.fields={'answer': 'a'}"],
    ),
    "part": (
        [{"sandbox": {"service": each}} for each in (None, {"retries": 2})],
        ["sandbox.service=None", "sandbox.service=…"],
    ),
}


@pytest.mark.parametrize("case", APART)
def test_runs_that_differ_in_a_mapping_or_in_having_a_part_are_not_averaged(tmp_path: Path, case: str) -> None:
    settings, names = APART[case]
    runs = [load_history(make_run(tmp_path / str(at), "tracelift", 0, 0.7, **each)) for at, each in enumerate(settings)]
    assert list(alike(runs)) == [f"tracelift, {name}" for name in names]


def test_a_mapping_in_another_order_and_a_key_that_an_older_version_lacks_are_no_difference(tmp_path: Path) -> None:
    weights: list[dict[str, object]] = [{"code": 0.5, "math": 2.0}, {"math": 2.0, "code": 0.5}]
    algorithms = [{"component_weights": weights[0], "newer": 1}, *({"component_weights": each} for each in weights)]
    runs = [
        load_history(make_run(tmp_path / str(seed), "tracelift", seed, 0.7, algorithm=each))
        for seed, each in enumerate(algorithms)
    ]
    assert list(alike(runs)) == ["tracelift"]
    third = load_history(make_run(tmp_path / "third", "tracelift", 3, 0.7, algorithm=algorithms[0] | {"newer": 2}))
    assert {name: len(members) for name, members in alike([*runs, third]).items()} == {
        "tracelift, algorithm.newer=1": 1,
        "tracelift": 2,
        "tracelift, algorithm.newer=2": 1,
    }


def started(path: Path, start: float, seed: int = 0, **settings: object) -> RunHistory:
    """A run whose first evaluation measures ``start``."""
    run = load_history(make_run(path, "tracelift", seed, 0.7, **settings))
    first = replace(run.evaluations[0], metrics={"evaluation/math/accuracy": start})
    return replace(run, evaluations=(first, *run.evaluations[1:]))


def test_kinds_that_start_from_different_planners_have_a_start_each(tmp_path: Path) -> None:
    runs = [
        started(tmp_path / f"{model}{seed}", start, seed, planner={"model": model})
        for model, seed, start in (("a", 0, 0.2), ("a", 1, 0.4), ("b", 0, 0.6))
    ]
    table = comparison(runs)
    assert table.columns[2:] == (
        "start",
        "tracelift, planner.model=a (seeds 0, 1)",
        "start",
        "tracelift, planner.model=b (seeds 0)",
    )
    assert table.rows[0][2:] == ("0.300 [0.200, 0.400]", "0.700", "0.600", "0.700")


def test_what_moves_the_evaluation_of_the_first_planner_parts_the_starts_and_training_does_not(tmp_path: Path) -> None:
    leak, rate = (
        [started(tmp_path / f"{group}{each}", 0.5, **{group: {"arm": "tracelift", key: each}}) for each in values]
        for group, key, values in (("reward", "leak", ("mask", "report")), ("learner", "lr", (1, 2)))
    )
    assert [comparison(runs).columns.count("start") for runs in (leak, rate)] == [2, 1]


def test_an_evaluation_after_some_training_is_no_start(tmp_path: Path) -> None:
    late, whole = (
        load_history(make_run(tmp_path / str(seed), "tracelift", seed, 0.7, evaluated=evaluated))
        for seed, evaluated in enumerate([(5, 10), (0, 10)])
    )
    assert comparison([late, whole]).rows[0][2:] == ("0.500", "0.700")
    assert comparison([late]).rows[0][2:] == ("-", "0.700")


def test_a_run_that_ended_earlier_stands_alone_and_many_differences_are_counted(tmp_path: Path) -> None:
    many = [{f"a{index}": value for index in range(5)} for value in (1, 2)]
    short = make_run(tmp_path / "short", "tracelift", 0, 0.7, evaluated=(0, 5), algorithm=many[0])
    whole = [make_run(tmp_path / str(index), "tracelift", 0, 0.7, algorithm=each) for index, each in enumerate(many)]
    columns = comparison([load_history(path) for path in (short, *whole)]).columns[3:]
    assert len(columns) == 3
    assert columns[0] == (
        "tracelift, algorithm.a0=1, algorithm.a1=1, algorithm.a2=1, 2 settings more, to step 5 (seeds 0)"
    )


def test_a_run_with_another_clip_is_another_arm(tmp_path: Path) -> None:
    released = load_history(make_run(tmp_path / "a", "tracelift", 0, 0.7, clip_max=1.0))
    assert released.arm == "tracelift, clip_max=1"


def test_reports_leave_a_picture_and_markdown(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "tracelift", 0, 0.7)
    other = make_run(tmp_path / "other", "exec_only", 0, 0.6)
    for report in (write_report([one]), write_report([one, other], tmp_path / "out")):
        assert report.picture.read_bytes().startswith(b"\x89PNG") and report.picture.stat().st_size > 20_000
        assert "| math | accuracy with trace |" in report.markdown.read_text()
    assert (one / "report.png").exists() and (tmp_path / "out" / "comparison.png").exists()


def test_a_run_under_way_without_evaluation_is_still_drawn(tmp_path: Path) -> None:
    report = write_report([make_run(tmp_path / "a", "tracelift", 0, 0.7, evaluated=())])
    assert report.table is None and report.picture.exists()
    with pytest.raises(RunDirectoryError, match="cannot be compared"):
        write_report([tmp_path / "a", tmp_path / "a"])


@pytest.mark.parametrize("content", [{}, {"metrics.jsonl": ""}, {"metrics.jsonl": "", "config.yaml": "[1"}])
def test_a_directory_that_is_no_run_gets_one_line(
    tmp_path: Path, content: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and str(tmp_path) in error
