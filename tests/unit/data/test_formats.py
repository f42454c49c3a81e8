"""Records of forms that others publish, and of any form whose fields are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table, parquet

from tracelift_ray.data.fields import with_fields
from tracelift_ray.data.formats import FORMATS, detect_format
from tracelift_ray.data.problems import load_problems
from tracelift_ray.errors import DataError
from tracelift_ray.records import RecordError
from tracelift_ray.types import CodeTests

VERL: dict[str, Any] = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "1 + 1? Answer after ####."}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"split": "train", "index": 0},
}


def test_a_file_of_verl_is_read(tmp_path: Path) -> None:
    plain = VERL | {"extra_info": VERL["extra_info"] | {"question": None}}
    asked = VERL | {"extra_info": VERL["extra_info"] | {"question": "2 + 2?"}}
    parquet.write_table(Table.from_pylist([plain, asked]), tmp_path / "train.parquet")
    first, second = load_problems(tmp_path / "train.parquet")
    assert (first.statement, second.statement) == ("1 + 1? Answer after ####.", "2 + 2?")
    assert (first.task, first.answer, first.task_type) == ("math", "2", "openai/gsm8k")
    assert first.id.startswith("openai-gsm8k-") and first.id != second.id


def test_tests_of_verl_become_tests() -> None:
    tests = json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]})
    record = VERL | {"ability": "code", "prompt": "Add one.", "reward_model": {"ground_truth": tests}}
    problem = FORMATS["verl"].parse(record)
    assert problem.task == "code" and isinstance(problem.tests, CodeTests) and len(problem.tests) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reward_model": {}}, "reward_model.ground_truth: is required"),
        ({"prompt": []}, "prompt.content: is required"),
        ({"ability": "code"}, "reward_model.ground_truth: must"),
        ({"data_source": None}, "data_source: is required"),
    ],
)
def test_what_a_record_of_verl_lacks_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(RecordError) as refused:
        FORMATS["verl"].parse(VERL | change)
    assert f"{refused.value.field}: {refused.value.rule}".startswith(told) or "tests" in refused.value.field


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reward_model": {"style": "rule", "ground_truth": None}}, "reward_model.ground_truth: is required"),
        ({"prompt": []}, "prompt.content: is required"),
        ({"data_source": None}, "data_source: is required"),
        ({"ability": "code"}, "reward_model.ground_truth: must be tests as JSON, found '2 of 3'"),
    ],
)
def test_a_file_of_verl_with_a_broken_record_is_one_line(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    good = VERL | {"reward_model": {"style": "rule", "ground_truth": "2 of 3"}}
    parquet.write_table(Table.from_pylist([good, good | change]), tmp_path / "train.parquet")
    with pytest.raises(DataError) as refused:
        load_problems(tmp_path / "train.parquet")
    remedy = "is refused; on_error=skip leaves faulty records out"
    assert str(refused.value) == f"{tmp_path}/train.parquet:2: {told} ({remedy})"
    assert len(load_problems(tmp_path / "train.parquet", on_error="skip")) == 1


def test_a_file_of_verl_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    parquet.write_table(Table.from_pylist([VERL] * 9), tmp_path / "train.parquet")
    whole = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as refused:
        load_problems(tmp_path / "train.parquet", on_error="skip")
    line = str(refused.value)
    assert line.startswith(f"{tmp_path}/train.parquet cannot be read as Parquet: ") and "\n" not in line
    assert line.endswith("; fetch or write it again, whole and, if it is text, in UTF-8")


def test_every_format_is_told_by_its_own_keys() -> None:
    assert detect_format(VERL) == "verl"
    for name, form in FORMATS.items():
        if form.telling:
            assert detect_format(dict.fromkeys(form.telling, "x")) == name


def test_any_file_is_read_whose_fields_are_named(tmp_path: Path) -> None:
    records = [{"messages": [{"content": f"{n}?"}], "meta": {"truth": n}, "note": "x"} for n in (3, 4)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, records)))
    fields = {"statement": "messages.0.content", "answer": "meta.truth", "task": "=math"}
    first, second = load_problems(tmp_path / "mine.jsonl", fields=fields)
    assert (first.statement, first.answer, first.task) == ("3?", "3", "math") and first.id != second.id
    assert load_problems(tmp_path / "mine.jsonl", fields=fields).records == (first, second)


def test_fields_are_named_in_tables_too(tmp_path: Path) -> None:
    rows = [{"conversation": [{"role": "user", "content": f"{n}?"}], "label": {"gold": n}} for n in (3, 4)]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "mine.parquet")
    (tmp_path / "mine.csv").write_text("conversation,label\n3?,3\n4?,4\n")
    nested = {"statement": "conversation.0.content", "answer": "label.gold", "task": "=math"}
    flat = {"statement": "conversation", "answer": "label", "task": "=math"}
    tables, cells = (load_problems(tmp_path / f"mine.{k}", fields=f) for k, f in (("parquet", nested), ("csv", flat)))
    assert tables.records == cells.records and [problem.answer for problem in cells] == ["3", "4"]
    with pytest.raises(DataError, match=r"mine\.csv:2: label\.gold: data\.fields names it, and it is not there"):
        load_problems(tmp_path / "mine.csv", fields=flat | {"answer": "label.gold"})


def test_a_field_that_is_not_there_is_named_with_those_that_are() -> None:
    record = {"meta": {"truth": 3}, "list": [1]}
    for path in ("meta.answer", "meta.truth.x", "list.1", "list.a"):
        with pytest.raises(RecordError) as refused:
            with_fields(record, {"answer": path})
        assert refused.value.field == path
    with pytest.raises(RecordError) as refused:
        with_fields(record, {"answer": "meta.answer"})
    assert refused.value.rule.endswith("there are truth")
