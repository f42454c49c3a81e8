"""Each source is read as the configuration says, or as it says itself; what that was stands in the report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import Table, parquet

from tests.unit.data.test_formats import VERL
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.readings import reading_of
from tracelift_ray.data.sources import first_problem, resolve_sources
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.errors import DataError
from tracelift_ray.planning.plan import render_plan
from tracelift_ray.planning.resources import ClusterResources

Compose = Callable[..., RunConfig]
FIELDS = '+data.fields={statement:question,answer:meta.truth,task:"=math"}'
OWN = "mine.csv?statement=question&answer=the+truth&task==math"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working directory: files of three forms."""
    records = [{"question": f"{n} + 0?", "meta": {"truth": n}} for n in range(9)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "mine.csv").write_text("question,the truth\n" + "".join(f"{n} + 1?,{n + 1}\n" for n in range(6)))
    asked = [VERL | {"prompt": [{"role": "user", "content": f"{n} + 2?"}]} for n in range(4)]
    parquet.write_table(Table.from_pylist(asked), tmp_path / "verl.parquet")
    monkeypatch.chdir(tmp_path)


def test_the_fields_of_the_configuration_are_read(run_config: Compose, tmp_path: Path) -> None:
    config = run_config("data.train=[mine.jsonl]", "data.heldout=[]", FIELDS)
    train, heldout, report, _ = resolve_sources(config.data, 0, demo_problems)
    found = {problem.statement: problem.answer for problem in (*train, *heldout)}
    assert found == {f"{n} + 0?": str(n) for n in range(9)} and {problem.task for problem in train} == {"math"}
    assert report.lines()[0] == (
        f"{tmp_path}/mine.jsonl (problems; statement from question, answer from meta.truth, task is math): "
        "9 of 9 records loaded"
    )
    assert first_problem(config.data, 0, demo_problems).statement == "0 + 0?"


def test_the_fields_of_the_configuration_are_for_held_out_files_too(run_config: Compose, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "7 + 7?", "meta": {"truth": 14}}))
    config = run_config("data.train=[mine.jsonl]", "data.heldout=[test.jsonl]", FIELDS)
    assert [problem.answer for problem in resolve_sources(config.data, 0, demo_problems).heldout] == ["14"]


def test_a_field_of_the_configuration_that_is_not_there_is_one_line(run_config: Compose) -> None:
    config = run_config("data.train=[mine.jsonl]", "data.heldout=[]", FIELDS.replace("meta", "label"))
    told = r"mine\.jsonl:1: label\.truth: data\.fields names it, and it is not there; there are question, meta \("
    with pytest.raises(DataError, match=told) as refused:
        resolve_sources(config.data, 0, demo_problems)
    assert str(refused.value).endswith("leaves faulty records out: 9 faults, one in each record)")


def test_sources_of_several_forms_are_mixed(run_config: Compose, tmp_path: Path) -> None:
    train = f'data.train=["{OWN}",verl.parquet]'
    config = run_config(train, 'data.heldout=["mine.jsonl?statement=question&answer=meta.truth&task==math"]')
    assert config.data.train == (f"{tmp_path}/{OWN}", f"{tmp_path}/verl.parquet")
    sources = resolve_sources(replace(config.data, weights=(1.0, 2.0)), 0, demo_problems)
    assert sorted(problem.statement for problem in sources.train) == sorted(
        [f"{n} + 1?" for n in range(6)] + [f"{n} + 2?" for n in range(4)]
    )
    assert {problem.statement for problem in sources.heldout} == {f"{n} + 0?" for n in range(9)}
    assert sources.report.lines()[0] == (
        f"{tmp_path}/mine.csv (problems; statement from question, answer from the truth, task is math): "
        "6 of 6 records loaded"
    )
    assert sources.report.lines()[1] == f"{tmp_path}/verl.parquet (verl): 4 of 4 records loaded"
    assert sources.mixture is not None and sources.mixture.shares() == (1 / 3, 2 / 3)
    first = first_problem(config.data, 0, demo_problems)
    assert (first.statement, first.answer) == ("0 + 1?", "1")


def test_a_source_that_says_how_it_is_read_is_read_by_that_alone() -> None:
    given = "gsm8k", {"question": "body"}
    assert reading_of("a.csv?format=verl", *given).fields == {}
    plain, own = reading_of("a.csv", *given), reading_of("hub:me/mine:main@test?answer=a%26b&task==x+y", *given)
    assert (plain.location, plain.format, plain.fields, plain.own) == ("a.csv", "gsm8k", {"question": "body"}, False)
    assert (own.location, own.format, own.own) == ("hub:me/mine:main@test", "auto", True)
    assert own.fields == {"answer": "a&b", "task": "=x y"}
    assert reading_of("gym:sums?largest=3", *given).location == "gym:sums?largest=3"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("mine.csv?", "nothing is no setting behind the ?: write FILE?format=NAME or FILE?statement=PATH&"),
        ("mine.csv?question", "question is no setting behind the ?: write FILE?format=NAME"),
        ("mine.csv?answer=&task==math", "answer= is no setting"),
        ("mine.csv?answer=a&answer=b", "answer is there twice"),
        ("mine.csv?format=gsm8", "there is no format gsm8; did you mean gsm8k"),
        ("?format=gsm8k", "format=gsm8k is no setting"),
        ("none.csv?format=gsm8k", "is not there; relative paths start where the command is run"),
        ("odd?name=x", "is no name for a file: what follows ? is how a file is read; rename it"),
    ],
)
def test_a_wrong_one_is_refused_before_anything_starts(
    run_config: Compose, tmp_path: Path, source: str, told: str
) -> None:
    (tmp_path / "odd?name=x").write_text("{}")
    for key in ("train", "heldout"):
        with pytest.raises(ConfigError) as refused:
            run_config(f'data.{key}=["{source}"]')
        line = str(refused.value)
        assert line.startswith(f"data.{key}=") and f"{source}: {told}" in line and "\n" not in line


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            "statement=question&answer=gold&task==math",
            r"mine\.csv:2: gold: what follows the \? names it, and it is not there; there are question, the truth \(",
        ),
        (
            "format=auto",
            r"no known .* has the keys question, the truth; behind the \? give format= and one of groups, ",
        ),
        ("format=gsm8k", r"mine\.csv:2: answer: is required"),
    ],
)
def test_one_that_does_not_fit_the_records_is_told_where(run_config: Compose, settings: str, told: str) -> None:
    config = run_config(f'data.train=["mine.csv?{settings}"]')
    with pytest.raises(DataError, match=told) as refused:
        resolve_sources(config.data, 0, demo_problems)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("sources", "tasks"),
    [
        ("[demo:math]", {"math"}),
        ('["mine.csv?format=gsm8k",demo:code]', {"math", "code"}),
        ('["mine.csv?format=gsm8k","mine.jsonl?format=mmlu"]', {"math", "choice"}),
        (f'["{OWN}",demo:code]', {"math", "code", "choice", "gym"}),
    ],
)
def test_the_plan_has_the_rewards_of_the_tasks_that_the_sources_tell(
    run_config: Compose, sources: str, tasks: set[str]
) -> None:
    plan = render_plan(run_config(f"data.train={sources}"), ClusterResources(8, 0, 1))
    assert set(re.findall(r"^  (\w+): R = ", plan, re.MULTILINE)) == tasks
