"""TraceLift-Groups load in the released form, come back the same when written, and every fault is named."""

from __future__ import annotations

import copy
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.data.rubric_records import load_rubric_records, write_rubric_records
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.code import CodeTask
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.types import CodeTests

Change = Callable[[dict[str, Any]], Any]


def group(dimensions: tuple[str, ...] = CodeTask.dimensions, **fields: Any) -> dict[str, Any]:
    def rubric(labels: tuple[int, ...], total: float) -> dict[str, Any]:
        return dict(zip(dimensions, labels, strict=True)) | {"total": total}

    record = {
        "problem_id": "code_000001",
        "source": "contest",
        "problem": "Print n.",
        "reference_solution": "print(input())",
        "positive_pool": [{"reasoning": " Read n.\nPrint it. ", "label": "positive", "rubric": rubric((4,) * 5, 1.0)}],
        "negative_bank": [
            {"reasoning": "Print 0.", "negative_kind": "wrong_algorithm", "rubric": rubric((2, 1, 0, 3, 4), 0.35)},
            {"reasoning": "Print n + 1.", "rubric": rubric((4, 1, 1, 1, 4), 0.5), "metadata": {"id": 3}},
        ],
        "metadata": {"task_type": "algorithm", "row": 1},
    }
    return record | fields


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def test_a_released_group_loads_with_labels_in_the_order_of_the_heads(tmp_path: Path) -> None:
    (loaded,) = load_rubric_records(write(tmp_path / "g", group()))
    assert (loaded.task, loaded.source, loaded.problem.task_type) == ("code", "contest", "algorithm")
    assert loaded.problem.solution == "print(input())"
    positive, first, second = (*loaded.positives, *loaded.negatives)
    assert (positive.reasoning, positive.labels, positive.total) == ("Read n.\nPrint it.", (4, 4, 4, 4, 4), 1.0)
    assert (first.labels, first.total, first.negative_kind) == ((2, 1, 0, 3, 4), 0.35, "wrong_algorithm")
    assert (second.negative_kind, dict(second.extra)) == (None, {"metadata": {"id": 3}})


def test_the_dimensions_say_which_task_a_group_is_of(tmp_path: Path) -> None:
    (loaded,) = load_rubric_records(write(tmp_path / "g", group(MathTask.dimensions)))
    assert loaded.task == "math"


@pytest.mark.parametrize(
    ("fields", "task_type"),
    [
        ({"task_type": "graph"}, "graph"),
        ({}, "algorithm"),
        ({"metadata": {}}, "contest"),
        ({"metadata": None, "source": None}, "unknown"),
    ],
)
def test_task_type_falls_back_to_metadata_then_source(tmp_path: Path, fields: dict[str, Any], task_type: str) -> None:
    (loaded,) = load_rubric_records(write(tmp_path / "g", group(**fields)))
    assert loaded.problem.task_type == task_type


@pytest.mark.parametrize(
    ("fields", "answer", "solution"),
    [
        ({"answer": 7}, "7", "print(input())"),
        ({"metadata": {"answer": "8"}}, "8", "print(input())"),
        ({"reference_solution": "3 * 3 = 9\n#### 9"}, "9", "3 * 3 = 9\n#### 9"),
        ({"reference_solution": "1,080"}, "1,080", None),
        ({"reference_solution": "three times three is nine"}, None, "three times three is nine"),
        ({"reference_solution": None}, None, None),
    ],
)
def test_the_answer_of_a_math_group(
    tmp_path: Path, fields: dict[str, Any], answer: str | None, solution: str | None
) -> None:
    (loaded,) = load_rubric_records(write(tmp_path / "g", group(MathTask.dimensions, **fields)))
    assert (loaded.problem.answer, loaded.problem.solution) == (answer, solution)


@pytest.mark.parametrize(
    ("tests", "expected", "text"),
    [
        ({"inputs": ["1"], "outputs": ["1"]}, CodeTests("stdio", inputs=("1",), outputs=("1",)), ""),
        (["assert f(1)"], CodeTests("function", asserts=("assert f(1)",)), ""),
        (
            " assert f(1);\n\nassert f(\n  2)\n",
            CodeTests("function", asserts=("assert f(1)", "assert f(\n  2)")),
            "assert f(1);\n\nassert f(\n  2)",
        ),
        ("1 <= n <= 100", None, "1 <= n <= 100"),
        ("n is at most 100\n", None, "n is at most 100"),
        ("", None, ""),
    ],
)
@pytest.mark.parametrize("name", ["tests_or_constraints", "tests"])
def test_tests_in_their_forms_and_their_text_as_it_stands(
    tmp_path: Path, name: str, tests: Any, expected: CodeTests | None, text: str
) -> None:
    (loaded,) = load_rubric_records(write(tmp_path / "g", group(**{name: tests})))
    assert (loaded.problem.tests, loaded.problem.tests_text) == (expected, text)


def test_constraints_of_a_math_record_are_kept_as_text(tmp_path: Path) -> None:
    (loaded,) = load_rubric_records(write(tmp_path / "g", group(MathTask.dimensions, tests_or_constraints="n <= 10 ")))
    assert (loaded.problem.tests, loaded.problem.tests_text) == (None, "n <= 10")


@pytest.mark.parametrize(
    "record",
    [
        group(),
        group(tests={"inputs": ["1"], "outputs": ["1"]}),
        group(tests_or_constraints="n is at most 100"),
        group(tests="assert f( 1 )"),
        group(MathTask.dimensions, tests_or_constraints="n <= 10"),
        group(metadata={"note": "\ud800 é 🙂"}),
        group(MathTask.dimensions, reference_solution="72", metadata={}),
        group(MathTask.dimensions, reference_solution="2 * 36 = 72\n#### 72"),
    ],
)
def test_groups_that_are_written_come_back_the_same(tmp_path: Path, record: dict[str, Any]) -> None:
    loaded = load_rubric_records(write(tmp_path / "g", record))
    assert write_rubric_records(tmp_path / "again" / "g", loaded) == 1
    again = load_rubric_records(tmp_path / "again" / "g")
    assert again.records == loaded.records
    write_rubric_records(tmp_path / "third", again)
    assert (tmp_path / "third").read_bytes() == (tmp_path / "again" / "g").read_bytes()


def _set(*path: Any) -> Change:
    *steps, last, value = path

    def change(record: dict[str, Any]) -> None:
        target: Any = record
        for step in steps:
            target = target[step]
        target[last] = value

    return change


def _drop(*path: Any) -> Change:
    *steps, last = path

    def change(record: dict[str, Any]) -> None:
        target: Any = record
        for step in steps:
            target = target[step]
        del target[last]

    return change


RUBRIC = ("negative_bank", 1, "rubric")
FAULTS: list[tuple[Change, str, str]] = [
    (_set(*RUBRIC, "plan_quality", 7), "bad_label", "negative_bank[1].rubric.plan_quality: must be an integer from 0"),
    (_set(*RUBRIC, "plan_quality", -1), "bad_label", "to 4, found -1"),
    (_set(*RUBRIC, "plan_quality", 2.5), "bad_label", "to 4, found 2.5"),
    (_set(*RUBRIC, "plan_quality", True), "bad_label", "to 4, found True"),
    (_set(*RUBRIC, "plan_quality", "3"), "bad_label", "to 4, found '3'"),
    (_drop(*RUBRIC, "plan_quality"), "bad_label", "negative_bank[1].rubric.plan_quality: must be an integer"),
    (
        _set(*RUBRIC, "total", 1.3),
        "bad_total",
        "negative_bank[1].rubric.total: must be a number from 0 to 1, found 1.3",
    ),
    (_set(*RUBRIC, "total", "0.5"), "bad_total", "total: must be a number from 0 to 1, found '0.5'"),
    (_set(*RUBRIC, "total", True), "bad_total", "total: must be a number from 0 to 1, found True"),
    (_set(*RUBRIC, "total", -0.1), "bad_total", "total: must be a number from 0 to 1, found -0.1"),
    (_set(*RUBRIC, "total", float("nan")), "broken_json", "record: must be one plain JSON object (NaN is not JSON)"),
    (_drop(*RUBRIC, "total"), "bad_total", "negative_bank[1].rubric.total: must be a number from 0 to 1"),
    (_set(*RUBRIC, "elegance", 3), "unknown_dimension", "negative_bank[1].rubric.elegance: the dimensions of code are"),
    (_set(*RUBRIC, dict.fromkeys(MathTask.dimensions, 1)), "unknown_dimension", "the dimensions of code are"),
    (
        _set("positive_pool", 0, "rubric", {"elegance": 3, "total": 1.0}),
        "unknown_dimension",
        "positive_pool[0].rubric: must name the dimensions of math (problem_understanding",
    ),
    (_drop(*RUBRIC), "missing_rubric", "negative_bank[1].rubric: must be an object of five labels and a total"),
    (_drop("positive_pool", 0, "rubric"), "missing_rubric", "positive_pool[0].rubric: must be an object"),
    (_set("negative_bank", []), "no_negatives", "negative_bank: must hold at least one trace"),
    (_drop("negative_bank"), "no_negatives", "negative_bank: must hold at least one trace"),
    (_set("positive_pool", []), "no_positives", "positive_pool: must hold at least one trace"),
    (_drop("positive_pool"), "no_positives", "positive_pool: must hold at least one trace"),
    (_set("positive_pool", "x"), "wrong_type", "positive_pool: must be a list"),
    (_set("negative_bank", 0, "x"), "wrong_type", "negative_bank[0]: must be an object"),
    (_set("negative_bank", 0, "reasoning", " "), "empty_field", "negative_bank[0].reasoning: must not be empty"),
    (_drop("problem_id"), "missing_field", "problem_id: is required"),
    (_set("problem", ""), "empty_field", "problem: must not be empty"),
    (_set("metadata", [1]), "wrong_type", "metadata: must be an object"),
    (_set("problem_id", "first"), "duplicate_id", "problem_id: must be unique, line 1 has it too, found 'first'"),
    (_set("tests", {"inputs": ["1"], "outputs": []}), "bad_tests", "1 inputs, 0 outputs"),
    (_set("tests", ["assert ("]), "bad_tests", "tests[0]: must be Python"),
]


@pytest.mark.parametrize(
    ("change", "kind", "message"), FAULTS, ids=[f"{kind}-{i}" for i, (_, kind, _) in enumerate(FAULTS)]
)
def test_a_fault_is_refused_when_strict_and_left_out_when_skipping(
    tmp_path: Path, change: Change, kind: str, message: str
) -> None:
    broken = copy.deepcopy(group())
    change(broken)
    path = write(tmp_path / "g", group(problem_id="first"), broken, group(problem_id="last"))
    with pytest.raises(DataError) as raised:
        load_rubric_records(path)
    assert message in str(raised.value)
    assert f"{path}:2: " in str(raised.value)

    loaded = load_rubric_records(path, on_error="skip")
    assert [g.problem.id for g in loaded] == ["first", "last"]
    assert loaded.report.fault_counts == ((kind, 1),)


def test_truncated_json_and_a_directory_and_nothing_usable_are_refused(tmp_path: Path) -> None:
    whole = json.dumps(group())
    with pytest.raises(DataError, match="g:1: record: must be one JSON object"):
        load_rubric_records(write(tmp_path / "g", whole[: len(whole) // 2]))
    with pytest.raises(DataError, match="holds no usable groups"):
        load_rubric_records(tmp_path / "g", on_error="skip")
    with pytest.raises(DataError, match="check what is in the directory"):
        load_rubric_records(tmp_path)


def test_a_line_of_100_mb_is_refused_by_its_number_and_never_held(tmp_path: Path) -> None:
    path = write(tmp_path / "g", group(problem_id="first"))
    with open(path, "ab") as file:
        file.write(b'{"problem": "')
    os.truncate(path, path.stat().st_size + 100 * 2**20)  # a hole, which reads as zeros
    with open(path, "ab") as file:
        file.write(b'"}\n' + json.dumps(group(problem_id="last")).encode() + b"\n")
    tracemalloc.start()
    try:
        loaded = load_rubric_records(path, on_error="skip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [g.problem.id for g in loaded] == ["first", "last"]
    assert loaded.report.fault_counts == (("long_line", 1),)
    assert peak < 160 * 2**20
    with pytest.raises(DataError, match="g:2: record: a line holds at most 64 MiB"):
        load_rubric_records(path)


def test_many_faults_are_summed_up_by_kind_and_the_first_are_listed(tmp_path: Path) -> None:
    def broken(number: int) -> dict[str, Any] | str:
        record = group(problem_id=f"p{number}")
        record["negative_bank"][0]["rubric"] |= {"plan_quality": 7} if number % 3 else {"total": 1.3}
        return record

    path = write(tmp_path / "g", group(), *map(broken, range(60)), "{", group(problem_id="z"))
    with pytest.raises(DataError) as raised:
        load_rubric_records(path)
    lines = str(raised.value).splitlines()
    assert "61 faults (bad_label 40, bad_total 20, broken_json 1), the first 20" in lines[0]
    assert len(lines) == 21 and lines[1].strip().startswith(f"{path}:2: negative_bank[0].rubric.total: must be")
    loaded = load_rubric_records(path, on_error="skip")
    assert len(loaded) == 2 and "61 refused (bad_label 40, bad_total 20, broken_json 1)" in loaded.report.summary()


def test_integral_floats_are_labels(tmp_path: Path) -> None:
    record = group()
    record["positive_pool"][0]["rubric"]["plan_quality"] = 3.0
    (loaded,) = load_rubric_records(write(tmp_path / "g", record))
    assert loaded.positives[0].labels == (4, 3, 4, 4, 4)
    assert all(type(label) is int for label in loaded.positives[0].labels)


def test_a_limit_stops_reading(tmp_path: Path) -> None:
    assert len(load_rubric_records(write(tmp_path / "g", group(), group(problem_id="b"), "broken"), limit=2)) == 2
