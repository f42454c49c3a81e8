"""Problems of reasoning-gym: drawn by the seed, scored by their generator, refused where scoring would run them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import gym_stand_in
from tests.unit.data.test_sources import CONFIG
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.gym import gym_problems
from tracelift_ray.data.problems import load_problems, write_problems
from tracelift_ray.data.sources import resolve_sources
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.errors import DataError
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


def test_sources_that_are_no_paths_stay_as_they_are(run_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = run_config("data.train=[hub:me/mine,demo:math]", f"data.heldout=[{tmp_path}]")
    assert config.data.train == ("hub:me/mine", "demo:math") and config.data.heldout == (str(tmp_path),)


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
