"""Multiple choice: published formats, letters in completions, leaks of the right option."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.data.problems import load_problems, write_problems
from tracelift_ray.data.rubric_records import RubricRecord, RubricTrace, load_rubric_records, write_rubric_records
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.choice import options_of, with_options
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Artifact, Problem

STATEMENT = "What is the capital of France?\n\nA. Berlin\nB. Paris\nC. A city\nD. Rome"
PROBLEM = Problem("q", "choice", STATEMENT, answer="B")
CHOICE = task_of("choice")
OPTIONS = ["Berlin", "Paris", "A city", "Rome"]
MMLU = {"question": "What is the capital of France?", "choices": OPTIONS, "answer": 1, "subject": "geography"}
ARC = {
    "id": "Mercury_1",
    "question": "What is the capital of France?",
    "choices": {"text": OPTIONS, "label": ["1", "2", "3", "4"]},
    "answerKey": "2",
}


def written(tmp_path: Path, *records: dict[str, Any]) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    return path


@pytest.mark.parametrize(
    ("record", "format", "task_type"),
    [(MMLU, "mmlu", "geography"), (MMLU | {"answer": "b"}, "mmlu", "geography"), (ARC, "arc", "choice")],
)
def test_published_formats_are_recognised_and_read(
    tmp_path: Path, record: dict[str, Any], format: str, task_type: str
) -> None:
    loaded = load_problems(written(tmp_path, record))
    (problem,) = loaded
    assert loaded.report.format == format
    assert (problem.task, problem.task_type, problem.statement, problem.answer) == ("choice", task_type, STATEMENT, "B")
    assert problem.id.startswith(("mmlu-", "Mercury_1"))


def test_the_own_form_takes_options_in_the_statement_or_as_a_list_and_round_trips(tmp_path: Path) -> None:
    own = {"id": "a", "task": "choice", "statement": STATEMENT, "answer": "B"}
    listed = own | {"id": "b", "statement": MMLU["question"], "choices": OPTIONS, "answer": 1}
    problems = load_problems(written(tmp_path, own, listed)).records
    assert [(p.statement, p.answer) for p in problems] == [(STATEMENT, "B")] * 2
    write_problems(tmp_path / "out.jsonl", problems)
    assert load_problems(tmp_path / "out.jsonl").records == problems


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (MMLU | {"answer": 4}, "answer: must be a letter from A to D or an index from 0 to 3, found 4"),
        (MMLU | {"answer": True}, "answer: must be a letter"),
        (MMLU | {"choices": ["Paris"]}, "choices: must be 2 to 26 options"),
        (ARC | {"answerKey": "5"}, "answerKey: must be one of 1, 2, 3, 4, found '5'"),
        ({"id": "a", "task": "choice", "statement": "Which?", "answer": "A"}, "statement: must end with the options"),
    ],
)
def test_a_record_without_a_right_option_is_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_problems(written(tmp_path, record))


def test_a_group_names_its_task_because_its_rubric_does_not(tmp_path: Path) -> None:
    trace = RubricTrace("Think of the Seine.", (4, 4, 4, 4, 4), 1.0)
    write_rubric_records(tmp_path / "g.jsonl", [RubricRecord(PROBLEM, (trace,), (trace,))])
    (group,) = load_rubric_records(tmp_path / "g.jsonl")
    assert (group.problem.task, group.problem.answer) == ("choice", "B")
    (problem,) = load_problems(tmp_path / "g.jsonl")
    assert problem.statement == STATEMENT


def test_options_are_the_last_lines_in_order() -> None:
    assert options_of(STATEMENT) == tuple(OPTIONS)
    assert options_of("Which?\n(A) one\n(B) two") == ("one", "two")
    assert options_of("Which?\nB. one\nC. two") == options_of("A. one") == options_of("Which?") == ()
    assert options_of(with_options("First:\nA. x\nB. y", ["1\n2", "3"])) == ("1 2", "3")


def test_a_long_question_is_cut_and_keeps_its_options() -> None:
    long = with_options("word " * 100, OPTIONS)
    cut = CHOICE.cut_statement(long, 80)
    assert len(cut) <= 80 and cut.startswith("word") and options_of(cut) == tuple(OPTIONS)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("#### B", "B"),
        ("Paris is old.\n#### (B) Paris", "B"),
        ("The answer is B.", "B"),
        ("The answer is **B**, since A is in Germany", "B"),
        ("The correct answer is option D: Rome", "D"),
        ("The answer should be Paris.", "B"),
        ("The answer is A city", "C"),
        ("The answer is A because of the Spree", "A"),
        ("the answer is A. No, wait. The answer\nis B", "A"),
        ("The answer is A.\nNo: the answer is B", "B"),
        ("so \\boxed{\\text{B}} or \\boxed{D}", "D"),
        ("B", "B"),
        (" B. Paris\nIt lies on the Seine.", "B"),
        ("(b)", "B"),
        ("Answer: d", "D"),
        ("A. in Germany\nB. in France\n\nB", "B"),
        ("It must be Rome, I think.", "D"),
        ("B\n\nProblem: another\n#### A", "B"),
    ],
)
def test_the_letter_in_a_completion(text: str, letter: str) -> None:
    assert CHOICE.read_artifact(PROBLEM, text) == letter


@pytest.mark.parametrize(
    "text", ["", "I do not know.", "#### E", "A dog barks.", "A. in Germany\nB. in France", "Berlin or Rome", "7"]
)
def test_no_letter(text: str) -> None:
    assert CHOICE.read_artifact(PROBLEM, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "It lies on the Seine.\n#### B",
        "The answer is B, on the Seine.",
        "The answer is Paris.",
        "so \\boxed{B}",
        "Option B is correct.",
        "(B) the second city is correct",
        "B. Paris is the right one",
        "Paris is the right answer.",
        "A and C are wrong, so pick B",
        "Therefore the option left is (B).",
        "Rome is in Italy.\nB",
    ],
)
def test_the_right_option_named_as_the_answer_leaks_and_is_masked(text: str) -> None:
    assert CHOICE.leaks(PROBLEM, text)
    masked = CHOICE.mask(PROBLEM, text)
    assert "?" in masked and not CHOICE.leaks(PROBLEM, masked)


@pytest.mark.parametrize(
    "text",
    [
        "Option B names a city on the Seine.",
        "A: it lies on the Spree. B: it lies on the Seine.",
        "Paris and Rome are capitals; only one of them is in France.",
        "The answer is the one on the Seine.",
        "The answer is not A.",
        "Option A is correct.",
        "D is the best",
    ],
)
def test_weighing_the_options_does_not_leak(text: str) -> None:
    assert not CHOICE.leaks(PROBLEM, text) and CHOICE.mask(PROBLEM, text) == text


def test_a_guess_is_right_once_in_as_many_as_there_are_options() -> None:
    assert CHOICE.chance(PROBLEM) == 0.25
    assert task_of("math").chance(Problem("m", "math", "s", answer="1")) == 0.0


def test_a_letter_passes_or_is_wrong() -> None:
    verdicts = [CHOICE.verify(PROBLEM, Artifact(letter, ""), tools=None) for letter in ("B", "A", None)]  # type: ignore[arg-type]
    assert [verdict.outcome for verdict in verdicts] == ["passed", "wrong_answer", "no_artifact"]


@pytest.mark.parametrize(
    "piece", ["B", "B: ", "so B ", "B is ", "answer is B ", "#### B\n", "B\n", "Paris is ", "(", "**"]
)
def test_long_texts_are_read_in_time(piece: str) -> None:
    text = piece * (20_000 // len(piece))
    started = time.process_time()
    CHOICE.read_artifact(PROBLEM, text)
    assert not CHOICE.leaks(PROBLEM, CHOICE.mask(PROBLEM, text))
    assert time.process_time() - started < 5
