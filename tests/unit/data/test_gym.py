"""Problems of reasoning-gym: drawn by the seed, with an end or without, scored by their generator, refused where that
would run them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from tests import gym_stand_in
from tests.configs import run_config as composed_run
from tests.unit.data.test_sources import CONFIG
from tests.unit.rl.fakes import FakeRollout
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import DataConfig, RunConfig
from tracelift_ray.data.gym import GymStream, gym_problems
from tracelift_ray.data.problems import load_problems, write_problems
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.data.sources import resolve_sources
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.errors import DataError
from tracelift_ray.rl.assembly import build_scheduler
from tracelift_ray.rl.preparation import prepare
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Artifact, Problem, Verdict
from tracelift_ray.verification.math_answers import MathAnswers

REAL = importlib.util.find_spec("reasoning_gym") is not None


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gym_stand_in.install(tmp_path, monkeypatch)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "reasoning_gym"]:
        del sys.modules[name]


@pytest.mark.usefixtures("stand_in")
def test_problems_are_of_the_seed_and_the_splits_have_none_in_common() -> None:
    config = replace(CONFIG, train=("gym:sums?largest=500",), heldout=("gym:sums?largest=500",), limit=40)
    sources = resolve_sources(config, 3, demo_problems)
    assert resolve_sources(config, 3, demo_problems) == sources != resolve_sources(config, 4, demo_problems)
    assert not {p.statement for p in sources.train} & {p.statement for p in sources.heldout}
    assert {p.task for p in sources.train} == {"gym"} and {p.task_type for p in sources.train} == {"sums"}
    assert sources.report.lines()[0] == "gym:sums?largest=500 (reasoning-gym): 40 of 40 records loaded"


@pytest.mark.usefixtures("stand_in")
def test_its_own_scorer_decides_and_has_limits() -> None:
    (first, *_), _ = gym_problems("gym:ordered", 3, 0, "train")
    scorer = MathAnswers(1.0)

    class Tools:
        def score_answer(self, answer: str, entry: dict) -> Verdict:  # type: ignore[type-arg]
            return scorer.score(answer, entry)

    def outcome(text: str) -> str:
        task = task_of("gym")
        artifact = Artifact(task.read_artifact(first, text), text)
        return task.verify(first, artifact, Tools()).outcome  # type: ignore[arg-type]

    try:
        assert outcome("Well. <answer>a\nb 9</answer>") == "passed"
        assert outcome(f"<answer>{first.answer}") == "passed"
        assert outcome("<answer>a 0</answer>") == "wrong_answer"
        assert outcome("<answer>broken</answer>") == "wrong_answer"
        assert outcome("<answer>endless</answer>") == "time_limit"
        assert outcome(f"<answer>{'x' * 2000}</answer>") == "wrong_answer"
        assert outcome("<answer></answer>") == outcome("") == "no_artifact"
    finally:
        scorer.close()


@pytest.mark.usefixtures("stand_in")
def test_a_problem_is_written_and_read_with_its_record(tmp_path: Path) -> None:
    problems, _ = gym_problems("gym:ordered", 3, 0, "train")
    write_problems(tmp_path / "kept.jsonl", problems)
    assert load_problems(tmp_path / "kept.jsonl").records == problems
    assert json.loads(problems[0].entry)["metadata"]["refused"] == "a 0"


@pytest.mark.usefixtures("stand_in")
def test_a_problem_whose_own_answer_does_not_pass_is_left_out_and_counted() -> None:
    problems, report = gym_problems("gym:ordered", 5, 0, "train")
    assert [problem.statement[-2] for problem in problems] == ["0", "1", "2", "4"]
    assert report.summary() == (
        "gym:ordered (reasoning-gym): 4 of 5 records loaded; 1 refused (no_reference 1), first: gym:ordered:4: answer: "
        "its own scorer does not accept it"
    )


def written_records(generators: tuple[str, ...] = ("sums", "ordered")) -> list[dict[str, Any]]:
    """Records as reasoning-gym gives and publishes them: metadata names the generator and the place in it."""
    import reasoning_gym

    made = {name: reasoning_gym.create_dataset(name, size=3, seed=7) for name in generators}
    return [
        {**record, "metadata": {"source_dataset": name, "source_index": place, **record["metadata"]}}
        for name, generator in made.items()
        for place, record in ((place, generator[place]) for place in range(3))
    ]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "saved"])
def test_records_that_the_library_wrote_are_problems_with_their_scorer(tmp_path: Path, kind: str) -> None:
    records, source = written_records(), str(tmp_path / f"mine.{kind}")
    if kind == "jsonl":
        Path(source).write_text("\n".join(map(json.dumps, records)))
    elif kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(records), source)
    else:
        datasets.Dataset.from_list(records).save_to_disk(source)
    sources = resolve_sources(replace(CONFIG, train=(source,), heldout_fraction=0.0), 0, demo_problems)
    assert sources.report.lines()[0] == f"{source} (gym): 6 of 6 records loaded"
    found = {problem.statement: problem for problem in sources.train}
    assert found.keys() == {record["question"] for record in records}
    assert {problem.task for problem in sources.train} == {"gym"}
    assert [found[record["question"]].task_type for record in records] == ["sums"] * 3 + ["ordered"] * 3
    scorer = MathAnswers(1.0)
    try:
        for record in records:
            entry = json.loads(found[record["question"]].entry)
            assert {key: entry["metadata"][key] for key in record["metadata"]} == record["metadata"]
            assert scorer.score(record["answer"], entry).success == 1
            assert scorer.score(record["metadata"].get("refused", "no number"), entry).success == 0
    finally:
        scorer.close()


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"source_dataset": "formulas"}, "metadata.source_dataset: its scorer evaluates answers as code, which is not"),
        ({"source_dataset": "sudoku"}, "metadata.source_dataset: reasoning-gym has no generator sudoku; it has"),
        ({}, "metadata.source_dataset: is required"),
        ("sums", "metadata: must be an object"),
    ],
)
def test_a_record_whose_answers_are_not_scored_is_refused(tmp_path: Path, metadata: object, told: str) -> None:
    good = written_records(("sums",))[0]
    bad = {**good, "metadata": metadata}
    own = {"id": "p", "task": "gym", "statement": good["question"], "entry": bad}
    (tmp_path / "mine.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    (tmp_path / "own.jsonl").write_text(json.dumps(own))
    for name, line in (("mine", 2), ("own", 1)):
        with pytest.raises(DataError) as refused:
            load_problems(tmp_path / f"{name}.jsonl")
        assert str(refused.value).startswith(f"{tmp_path}/{name}.jsonl:{line}: {told}")
        assert "\n" not in str(refused.value)
    assert len(load_problems(tmp_path / "mine.jsonl", on_error="skip")) == 1


ENDLESS = "gym:sums?largest=500"


def sampled(config: DataConfig, seed: int = 3) -> ProblemSampler:
    sources = resolve_sources(config, seed, demo_problems)
    return ProblemSampler(sources.train, seed, sources.mixture)


def drawn(sampler: ProblemSampler, count: int) -> list[tuple[int, str, str]]:
    return [(epoch, problem.id, problem.statement) for epoch, problem in (sampler.next() for _ in range(count))]


@pytest.mark.usefixtures("stand_in")
def test_a_generator_to_train_on_has_no_end_and_gives_no_problem_twice() -> None:
    config = replace(CONFIG, train=(ENDLESS,))
    sources = resolve_sources(config, 3, demo_problems)
    assert (sources.train, len(sources.heldout)) == ((), 200)
    assert sources.report.lines() == (
        f"{ENDLESS} (reasoning-gym, without an end, the first looked at): 8 of 8 records loaded",
        f"{ENDLESS} (reasoning-gym): 200 of 200 records loaded",
        f"0 train and 200 held-out problems; without an end, to train on: {ENDLESS}",
    )
    found = drawn(sampler := sampled(config), 2_300)
    assert len({id for _, id, _ in found}) == 2_300 and found[1_999][0] == 0 and found[2_000][0] == 1
    assert found == drawn(sampled(config), 2_300) and found[0] != drawn(sampled(config, 4), 1)[0]
    assert not {text for _, _, text in found} & {problem.statement for problem in sources.heldout}
    numbers = [int(id.rpartition("#")[2]) for _, id, _ in found]
    assert numbers == sorted(numbers) and numbers[-1] >= 2_300, "held-out ones are passed over"
    assert sampler.metrics() == {"data/epoch": 1, "data/problems": 2_000, "data/generated": numbers[-1] + 1}


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("position", [0, 1, 499, 700, 2_001])
def test_an_endless_source_goes_on_exactly_and_knows_what_it_gave(position: int) -> None:
    config = replace(CONFIG, train=(ENDLESS, "gym:ordered?size=90"))
    one, other = sampled(config), sampled(config)
    before = [one.next().problem for _ in range(position)]
    other.restore(json.loads(json.dumps(one.state())))
    assert [other.problem(problem.id) for problem in before[-30:]] == before[-30:]
    assert drawn(one, 600) == drawn(other, 600)
    with pytest.raises(DataError, match="with other ids: resume with the same data settings"):
        sampled(replace(config, train=("gym:sums?largest=501", "gym:ordered?size=90"))).restore(one.state())


@pytest.mark.usefixtures("stand_in")
def test_an_endless_source_is_mixed_by_its_weight(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"{n}?", "answer": f"#### {n}"}) for n in range(10)]
    (tmp_path / "few.jsonl").write_text("\n".join(lines))
    few = str(tmp_path / "few.jsonl")
    config = replace(CONFIG, train=(few, ENDLESS), weights=(2.0, 3.0), heldout=("gym:ordered",))
    found = drawn(sampled(config), 50)
    for epoch in (0, 1):
        assert sum(id.startswith("gym:") for number, id, _ in found if number == epoch) == 15
        assert len({id for number, id, _ in found if number == epoch}) == 25
    assert (
        resolve_sources(config, 3, demo_problems)
        .report.lines()[-1]
        .endswith(f"; without an end, to train on: {ENDLESS}; an epoch is 40% of {few}, 60% of {ENDLESS}")
    )
    alone = replace(config, train=(ENDLESS, "gym:ordered"), weights=(1.0, 4.0))
    first = [id.partition("?")[0].partition("#")[0] for epoch, id, _ in drawn(sampled(alone), 2_500) if epoch == 0]
    assert (first.count("gym:sums"), first.count("gym:ordered")) == (500, 2_000)


@pytest.mark.usefixtures("stand_in")
def test_a_generator_has_an_end_where_one_is_given() -> None:
    for source, limit, count in ((f"{ENDLESS}&size=30", 0, 30), (ENDLESS, 20, 20), (f"{ENDLESS}&size=30", 20, 20)):
        sources = resolve_sources(replace(CONFIG, train=(source,), limit=limit), 0, demo_problems)
        assert len(sources.train) + len(sources.heldout) == count and sources.mixture is None
    with pytest.raises(DataError, match=r"size is none: it must be a whole number above 0"):
        gym_problems("gym:sums?size=none", 0, 0, "train")


@pytest.mark.usefixtures("stand_in")
def test_an_endless_source_without_problems_of_use_is_one_line() -> None:
    told = r"^gym:sums\?largest=1: none of the 1,000 problems from number 0 on can be used"
    with pytest.raises(DataError, match=told) as refused:
        sampled(replace(CONFIG, train=("gym:sums?largest=1",)))  # all four are held out
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("stand_in")
async def test_a_run_prepares_and_resumes_endless_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(problem: Problem, *_: object) -> bool:
        return "7" not in problem.statement

    monkeypatch.setattr("tracelift_ray.rl.assembly.fits", short)
    monkeypatch.setattr("tracelift_ray.rl.preparation.fits", short)
    monkeypatch.setattr("tracelift_ray.rl.preparation.check_readable", lambda *_: None)  # the demo's words
    run = composed_run(f"run_dir={tmp_path}", "data=jsonl", f"data.train=['{ENDLESS}']", "planner.prompt=plain")
    prepared = prepare(run)
    assert prepared.train == () and [problem.task for problem in prepared.generated] == ["gym"]
    scheduler = build_scheduler(run, FakeRollout(), prepared.train, prepared.mixture)  # type: ignore[arg-type]
    batch = await scheduler.next_batch(0)
    assert all(short(scored.group.problem) for scored in batch.groups)
    state = json.loads(json.dumps(scheduler.state()))
    await scheduler.stop()
    resumed = build_scheduler(run, FakeRollout(), prepared.train, prepared.mixture)  # type: ignore[arg-type]
    resumed.restore(state)
    assert [s.group.problem for s in (await resumed.next_batch(0)).groups] == [s.group.problem for s in batch.groups]
    await resumed.stop()


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("gym:formulas", "evaluates answers as code"),
        ("gym:sudoku", "has no generator sudoku; it has formulas, ordered, sums"),
        ("gym:sums?largest=0", "refuses these settings: largest must be positive"),
        ("gym:sums?smallest=1", "refuses these settings: .*smallest"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(source: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as refused:
        gym_problems(source, 3, 0, "train")
    assert str(refused.value).startswith(f"{source}: ") and "\n" not in str(refused.value)


@pytest.mark.skipif(REAL, reason="reasoning-gym is installed here")
def test_without_the_library_a_run_is_refused_at_once(run_config: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError, match=r"data\.train=gym:sums: needs reasoning-gym.*pip install reasoning-gym=="):
        run_config("data.train=[gym:sums]")
    with pytest.raises(DataError, match=r"^gym:sums: reasoning-gym is not installed; pip install"):
        gym_problems("gym:sums", 3, 0, "train")


@pytest.mark.skipif(REAL, reason="reasoning-gym is installed here")
def test_without_the_library_records_that_it_wrote_are_one_line(tmp_path: Path) -> None:
    record = {"question": "1 + 1?", "answer": "2", "metadata": {"source_dataset": "sums"}}
    (tmp_path / "mine.jsonl").write_text(f"{json.dumps(record)}\n" * 3)
    with pytest.raises(DataError) as refused:
        load_problems(tmp_path / "mine.jsonl", on_error="skip")
    told = "reasoning-gym is not installed; pip install reasoning-gym==0.1.25"
    assert str(refused.value) == f"{tmp_path}/mine.jsonl: {told}"


def test_sources_that_are_no_paths_stay_as_they_are(run_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = run_config("data.train=[hub:me/mine,demo:math]", f"data.heldout=[{tmp_path}]")
    assert config.data.train == ("hub:me/mine", "demo:math") and config.data.heldout == (str(tmp_path),)


@pytest.mark.skipif(not REAL, reason="reasoning-gym is not installed here")
@pytest.mark.parametrize("source", ["gym:chain_sum", "gym:word_ladder", "gym:gsm_symbolic", "gym:pool_matrix"])
def test_real_generators_have_no_end(source: str) -> None:
    stream, again = GymStream(source, 5), GymStream(source, 5)
    for start in (0, 499, 123_456):
        problem, number = stream.take(start)
        assert again.problem(problem.id) == problem and number > start
    assert stream.take(0)[0].entry != stream.take(500)[0].entry


@pytest.mark.skipif(not REAL, reason="reasoning-gym is not installed here")
@pytest.mark.parametrize("source", ["gym:chain_sum?max_terms=3", "gym:mini_sudoku", "gym:letter_counting", "gym:maze"])
def test_real_generators_take_their_own_answers(source: str) -> None:
    problems, _ = gym_problems(source, 5, 0, "train")
    scorer = MathAnswers(5.0)
    try:
        for problem in problems:
            assert scorer.score(problem.answer or "", json.loads(problem.entry)).success == 1
            assert scorer.score("no answer", json.loads(problem.entry)).success == 0
    finally:
        scorer.close()


def test_a_trace_that_states_the_answer_leaks() -> None:
    task = task_of("gym")
    problem = Problem("p", "gym", "3 + 4?", answer="7", entry="{}")
    assert task.leaks(problem, "3 + 4 = 7") and not task.leaks(problem, "add 3 and 4")
    assert not task.leaks(problem, task.mask(problem, "3 + 4 = 7"))
