import contextlib
import json
from pathlib import Path

import pytest

from tests.unit.evaluation.cases import SETUP, result, store
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.errors import DataError
from tracelift_ray.evaluation.results import (
    RECORDS,
    ResultStore,
    comparable_results,
    differences,
    read_results,
    read_setup,
)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    kept = store(tmp_path / "new" / "place")
    made = [result("a", "101", "000"), result("b", "0", "1", malformed=True), result("a", "1", "1", benchmark="others")]
    for each in made:
        kept.add(each)
    kept.close()
    assert list(read_results(tmp_path / "new" / "place").values()) == made
    assert read_setup(tmp_path / "new" / "place") == SETUP


def test_records_without_prompts_are_read_too(tmp_path: Path) -> None:
    with contextlib.closing(store(tmp_path)) as results:
        results.add(result("a", "1", "0"))
    record = json.loads((tmp_path / RECORDS).read_text())
    for name in ("prompt", "written"):
        del record["traces"][0][name]
    (tmp_path / RECORDS).write_text(json.dumps(record) + "\n")
    assert list(read_results(tmp_path).values()) == [result("a", "1", "0")]


def test_a_torn_last_line_is_dropped_and_written_anew(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(result("a", "1", "0"))
    kept.close()
    with open(tmp_path / RECORDS, "a") as records:
        records.write('{"step": 1, "bench')
    again = store(tmp_path)
    assert set(again.done) == {("sums", "a")}
    again.add(result("b", "1", "0"))
    again.close()
    assert set(read_results(tmp_path)) == {("sums", "a"), ("sums", "b")}


def test_a_directory_belongs_to_one_set_up(tmp_path: Path) -> None:
    store(tmp_path).close()
    with pytest.raises(ConfigError, match=r"out=.*another executor\.weights; choose another out"):
        ResultStore(tmp_path, {**SETUP, "executor": {"weights": "changed"}})


def test_only_evaluations_of_planners_under_the_same_conditions_are_compared(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(result("a", "1", "0"))
    kept.close()
    assert set(comparable_results(tmp_path, {**SETUP, "planner": {"weights": "better"}})) == {("sums", "a")}
    with pytest.raises(ConfigError, match=r"against=.*its executor\.weights, seed is another"):
        comparable_results(tmp_path, {**SETUP, "executor": {"weights": "stronger"}, "seed": 1})


def test_differences_name_the_keys_at_any_depth() -> None:
    assert differences({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2, "d": 4}, "e": 0}) == ["b.d", "e"]
    assert differences({"a": (1, 2)}, {"a": [1, 2]}) == []


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no evaluation"):
        read_setup(tmp_path)
    (tmp_path / RECORDS).write_text(json.dumps({"step": 0, "id": "a"}) + "\n")
    with pytest.raises(DataError, match="no result of a problem"):
        read_results(tmp_path)
