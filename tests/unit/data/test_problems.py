"""Every format loads, and every kind of bad input is refused with file, line, field and rule."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.data.jsonl import MAX_LINE_BYTES
from tracelift_ray.data.loading import LISTED_FAULTS, MAX_STRICT_FAULTS
from tracelift_ray.data.problems import load_problems, write_problems
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.types import CodeTests, Problem

GOOD: dict[str, Any] = {"id": "a", "task": "math", "statement": "1 + 1 = ?", "answer": "2"}
STDIO: dict[str, Any] = {
    "id": "s",
    "task": "code",
    "statement": "echo",
    "tests": {"inputs": ["1\n", " 2"], "outputs": ["1\n", " 2"]},
}
GSM8K: dict[str, Any] = {
    "question": "Tom has 3 bags of 400 nuts. How many nuts?",
    "answer": "He has 3*400=<<3*400=1200>>1200 nuts.\n#### 1,200",
}
MBPP: dict[str, Any] = {
    "text": "Write a function to double a number.",
    "code": "def double(n):\r\n    return 2 * n",
    "task_id": 7,
    "test_setup_code": "import math",
    "test_list": ["assert double(2) == 4", "assert double(0) == 0"],
    "challenge_test_list": [],
}
MATH500: dict[str, Any] = {
    "problem": "What is half of $\\frac{2}{3}$?",
    "solution": "Half of it is $\\boxed{\\frac{1}{3}}$.",
    "answer": "\\frac{1}{3}",
    "subject": "Prealgebra",
    "level": 1,
    "unique_id": "test/prealgebra/1.json",
}
HUMANEVAL: dict[str, Any] = {
    "task_id": "HumanEval/0",
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Sum."""\n',
    "entry_point": "total",
    "canonical_solution": "    return sum(xs)\n",
    "test": "METADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n",
}


def write(path: Path, *records: Any) -> Path:
    """A file of records; text and bytes are written as they are."""
    with open(path, "wb") as stream:
        for record in records:
            if isinstance(record, bytes):
                stream.write(record + b"\n")
            else:
                stream.write((record if isinstance(record, str) else json.dumps(record)).encode() + b"\n")
    return path


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def test_gsm8k_gives_reference_and_a_clean_solution(tmp_path: Path) -> None:
    (problem,) = load_problems(write(tmp_path / "f", GSM8K), "gsm8k")
    assert problem.answer == "1200"
    assert problem.solution == "He has 3*400=1200 nuts."
    assert (problem.task, problem.tests) == ("math", None)


def test_gsm8k_ids_do_not_depend_on_the_row(tmp_path: Path) -> None:
    other = {"question": "What is 2 + 2?", "answer": "#### 4"}
    one = load_problems(write(tmp_path / "one", GSM8K, other), "gsm8k")
    two = load_problems(write(tmp_path / "two", other, GSM8K), "gsm8k")
    assert [p.id for p in one] == [p.id for p in reversed(two.records)]
    assert len({p.id for p in one}) == 2


def test_mbpp_keeps_tests_and_setup(tmp_path: Path) -> None:
    (problem,) = load_problems(write(tmp_path / "f", MBPP), "mbpp")
    assert problem.id == "mbpp-7"
    assert problem.statement == MBPP["text"]
    assert problem.tests == CodeTests("function", asserts=tuple(MBPP["test_list"]), setup="import math")
    assert problem.solution == "def double(n):\n    return 2 * n"


@pytest.mark.parametrize("rule", [{"exact": True}, {"abs_tol": 1e-6, "rel_tol": 0.5}, {"rel_tol": 1}])
def test_stdio_tests_may_say_how_outputs_are_compared(tmp_path: Path, rule: dict[str, Any]) -> None:
    (problem,) = load_problems(write(tmp_path / "f", STDIO | {"tests": STDIO["tests"] | rule}))
    assert problem.tests == CodeTests("stdio", inputs=("1\n", " 2"), outputs=("1\n", " 2"), **rule)
    write_problems(tmp_path / "again", [problem])
    assert load_problems(tmp_path / "again").records == (problem,)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"exact": 1}, r"tests\.exact: must be true or false"),
        ({"abs_tol": "1e-6"}, r"tests\.abs_tol: must be a number"),
        ({"rel_tol": -1}, "rel_tol=-1: must be 0 or more"),
        ({"exact": True, "rel_tol": 0.1}, "outputs that must be exact have no tolerance"),
    ],
)
def test_an_unusable_comparison_is_refused(tmp_path: Path, rule: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_problems(write(tmp_path / "f", STDIO | {"tests": STDIO["tests"] | rule}))


def test_sanitized_mbpp_loads_too(tmp_path: Path) -> None:
    record = without(without(MBPP, "text"), "test_setup_code")
    record |= {"prompt": "Write a function to double a number.", "test_imports": ["import math"]}
    (problem,) = load_problems(write(tmp_path / "f", record), "mbpp")
    assert problem.tests is not None and problem.tests.setup == "import math"


def test_humaneval_becomes_one_check_with_the_prompts_imports(tmp_path: Path) -> None:
    (problem,) = load_problems(write(tmp_path / "f", HUMANEVAL), "humaneval")
    assert problem.tests is not None
    assert (problem.tests.entry_point, problem.tests.setup) == ("total", "from typing import List")
    assert len(problem.tests) == 1
    space: dict[str, Any] = {}
    exec(f"{problem.tests.setup}\n{problem.solution}\n{problem.tests.asserts[0]}\ncheck(total)", space)
    assert space["total"]([4, 5]) == 9


def test_math500_keeps_the_latex_reference_and_takes_the_subject_as_type(tmp_path: Path) -> None:
    (problem,) = load_problems(write(tmp_path / "f", MATH500), "math500")
    assert (problem.id, problem.answer) == ("math-test/prealgebra/1.json", "\\frac{1}{3}")
    assert (problem.task, problem.task_type, problem.solution) == ("math", "Prealgebra", MATH500["solution"])


def test_groups_load_as_problems_with_the_reference_from_metadata(tmp_path: Path) -> None:
    rubric = dict.fromkeys(MathTask.dimensions, 4) | {"total": 1.0}
    group = {
        "problem_id": "g",
        "source": "gsm8k",
        "problem": "1 + 1 = ?",
        "positive_pool": [{"reasoning": "add", "rubric": rubric}],
        "negative_bank": [{"reasoning": "subtract", "rubric": rubric}],
        "metadata": {"answer": 2},
    }
    (problem,) = load_problems(write(tmp_path / "f", group))
    assert (problem.answer, problem.task_type) == ("2", "gsm8k")
    with pytest.raises(DataError, match="f:1: reference_solution: must hold the answer"):
        load_problems(write(tmp_path / "f", without(group, "metadata")))


@pytest.mark.parametrize(
    ("record", "format"),
    [
        (GOOD, "problems"),
        (STDIO, "problems"),
        (GSM8K, "gsm8k"),
        (MBPP, "mbpp"),
        (HUMANEVAL, "humaneval"),
        (MATH500, "math500"),
    ],
)
def test_auto_knows_the_format_by_its_keys(tmp_path: Path, record: dict[str, Any], format: str) -> None:
    loaded = load_problems(write(tmp_path / "f", record))
    assert loaded.report.format == format
    assert loaded.records == load_problems(tmp_path / "f", format).records


def test_auto_names_the_keys_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"f:2: no known problem format has the keys body, title; set data.format"):
        load_problems(write(tmp_path / "f", "", {"title": "x", "body": "y"}))


@pytest.mark.parametrize("record", [GSM8K, MBPP, HUMANEVAL, MATH500, GOOD, STDIO])
def test_problems_written_in_our_form_come_back_the_same(tmp_path: Path, record: dict[str, Any]) -> None:
    loaded = load_problems(write(tmp_path / "f", record)).records
    assert write_problems(tmp_path / "deep" / "ours.jsonl", loaded) == 1
    assert load_problems(tmp_path / "deep" / "ours.jsonl", "problems").records == loaded


def test_white_space_of_test_data_is_kept_and_numbers_are_taken_as_answers(tmp_path: Path) -> None:
    loaded = load_problems(write(tmp_path / "f", STDIO, GOOD | {"id": 5, "answer": -2.5, "task_type": "sum"}))
    assert loaded.records[0].tests == CodeTests("stdio", inputs=("1\n", " 2"), outputs=("1\n", " 2"))
    assert loaded.records[1] == Problem("5", "math", "1 + 1 = ?", "sum", "-2.5")


def test_a_byte_order_mark_and_blank_lines_and_windows_line_ends_are_no_faults(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    loaded = load_problems(write(tmp_path / "f", b"\xef\xbb\xbf" + line + b"\r", b"", b"   ", b"\r"))
    assert loaded.report.records == len(loaded) == 1


FAULTS: list[tuple[str, Any, str, str]] = [
    ("broken", '{"id": "a", ', "broken_json", r"record: must be one JSON object"),
    ("not a number", '{"id": NaN}', "broken_json", r"NaN is not JSON"),
    ("deep", "[" * 100_000, "broken_json", r"must be one plain JSON object"),
    ("huge integer", '{"answer": ' + "9" * 5_000 + "}", "broken_json", r"must be one plain JSON object"),
    ("list", [GOOD], "not_object", r"record: each line must be a JSON object"),
    ("latin-1", '{"id": "é"}'.encode("latin-1"), "not_utf8", r"the file must be UTF-8 \(byte 8"),
    ("surrogate", GOOD | {"statement": "\ud800"}, "not_utf8", r"statement: holds a lone surrogate"),
    ("no statement", without(GOOD, "statement"), "missing_field", r"statement: is required"),
    ("empty statement", GOOD | {"statement": " \n"}, "empty_field", r"statement: must not be empty"),
    ("statement of lists", GOOD | {"statement": ["x"]}, "wrong_type", r"statement: must be text, found \['x'\]"),
    ("no answer", without(GOOD, "answer"), "no_reference", r"answer: a math problem needs a reference"),
    ("empty answer", GOOD | {"answer": " "}, "no_reference", r"answer: a math problem needs a reference"),
    ("answer of truth", GOOD | {"answer": True}, "wrong_type", r"answer: must be text, found True"),
    ("no id", without(GOOD, "id"), "missing_field", r"id: is required"),
    ("id of two lines", GOOD | {"id": "a\nb"}, "bad_id", r"id: must be 1 to 200 printable characters"),
    ("other task", GOOD | {"task": "poetry"}, "wrong_value", r"must be math, code, choice or gym, found 'poetry'"),
    ("no tests", without(STDIO, "tests"), "no_tests", r"tests: a problem without tests is refused"),
    ("empty tests", STDIO | {"tests": {"inputs": [], "outputs": []}}, "no_tests", r"without tests is refused"),
    ("no asserts", STDIO | {"tests": {"asserts": []}}, "no_tests", r"without tests is refused"),
    ("uneven tests", STDIO | {"tests": {"inputs": ["1"], "outputs": []}}, "bad_tests", r"1 inputs, 0 outputs"),
    (
        "numeric input",
        STDIO | {"tests": {"inputs": [1], "outputs": ["1"]}},
        "wrong_type",
        r"tests.inputs\[0\]: must be",
    ),
    ("other kind", STDIO | {"tests": {"kind": "http"}}, "bad_tests", r"tests.kind: must be stdio or function"),
    ("typo", STDIO | {"tests": {"inputs": ["1"], "output": ["1"]}}, "unknown_field", r"tests.output: stdio tests have"),
    ("no Python", STDIO | {"tests": {"asserts": ["assert ("]}}, "bad_tests", r"tests\[0\]: must be Python"),
    ("check", STDIO | {"tests": {"asserts": ["pass"], "entry_point": "f"}}, "bad_tests", r"one body with def check"),
]


@pytest.mark.parametrize(("record", "kind", "message"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_fault_is_refused_when_strict_and_left_out_when_skipping(
    tmp_path: Path, record: Any, kind: str, message: str
) -> None:
    path = write(tmp_path / "f", GOOD | {"id": "first"}, record, GOOD | {"id": "last"})
    with pytest.raises(DataError, match=message) as raised:
        load_problems(path, "problems")
    assert f"{path}:2: " in str(raised.value)
    assert "\n" not in str(raised.value), "one fault is one line"
    assert len(str(raised.value)) < 500

    loaded = load_problems(path, "problems", on_error="skip")
    assert [problem.id for problem in loaded] == ["first", "last"]
    assert loaded.report.fault_counts == ((kind, 1),)
    assert (loaded.report.faults[0].line, loaded.report.faults[0].kind) == (2, kind)
    assert "2 of 3 records loaded; 1 refused" in loaded.report.summary()


@pytest.mark.parametrize(
    ("record", "format", "message"),
    [
        (GSM8K | {"answer": "He has 1200."}, "gsm8k", "answer: must end with ####"),
        (GSM8K | {"answer": "He has 1200.\n#### "}, "gsm8k", "answer: must end with ####"),
        (MBPP | {"test_list": []}, "mbpp", "test_list: a problem without tests is refused"),
        (MBPP | {"test_list": "assert 1"}, "mbpp", "test_list: must be a list"),
        (without(MBPP, "task_id"), "mbpp", "task_id: is required"),
        (MATH500 | {"answer": ""}, "math500", "answer: a math problem needs a reference"),
        (HUMANEVAL | {"test": ""}, "humaneval", "test: a problem without tests is refused"),
        (HUMANEVAL | {"test": "assert total([]) == 0"}, "humaneval", "one body with def check"),
        (HUMANEVAL | {"entry_point": "sum"}, "humaneval", "entry_point: must be a function that the prompt begins"),
    ],
)
def test_published_formats_are_checked_too(tmp_path: Path, record: dict[str, Any], format: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_problems(write(tmp_path / "f", record), format)


def test_a_second_problem_with_one_id_is_refused_and_one_with_the_same_text_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "f", GOOD, GOOD | {"id": "b", "statement": " 1 +  1 = ? "}, GOOD | {"statement": "other"})
    with pytest.raises(DataError, match="f:3: id: must be unique, but line 1 has the same, found 'a'"):
        load_problems(path)
    loaded = load_problems(path, on_error="skip")
    assert [problem.id for problem in loaded] == ["a", "b"]
    assert loaded.report.same_text == 1
    assert "1 with the text of another" in loaded.report.summary()


def test_a_statement_of_200_kb_is_cut_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "f", GOOD | {"statement": "x" * 200_000}, GOOD | {"id": "b"})
    loaded = load_problems(path, max_problem_chars=2_500)
    assert [len(problem.statement) for problem in loaded] == [2_500, 9]
    assert loaded.report.cut == 1
    assert len(load_problems(path).records[0].statement) == 200_000


def test_a_line_without_end_is_refused_without_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with open(path, "wb") as stream:
        stream.write(json.dumps(GOOD).encode() + b"\n")
        stream.truncate(MAX_LINE_BYTES + 2**22)
        stream.seek(0, 2)
        stream.write(b"\n" + json.dumps(GOOD | {"id": "b"}).encode() + b"\n")
    loaded = load_problems(path, on_error="skip")
    assert [problem.id for problem in loaded] == ["a", "b"]
    assert loaded.report.fault_counts == (("long_line", 1),)
    assert str(loaded.report.faults[0]).endswith("f:2: record: a line holds at most 64 MiB")


def test_only_the_first_tests_are_kept(tmp_path: Path) -> None:
    (problem,) = load_problems(write(tmp_path / "f", MBPP), max_tests=1)
    assert problem.tests is not None and problem.tests.asserts == ("assert double(2) == 4",)


def test_a_limit_stops_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "f", *(GOOD | {"id": i, "statement": f"{i}"} for i in range(5)), "broken")
    loaded = load_problems(path, limit=3)
    assert [problem.id for problem in loaded] == ["0", "1", "2"]
    assert loaded.report.records == 3


def test_many_faults_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "f", *["{"] * 30, *[without(GOOD, "answer")] * 5, GOOD)
    with pytest.raises(DataError) as raised:
        load_problems(path)
    lines = str(raised.value).splitlines()
    assert "35 faults (broken_json 30, no_reference 5), the first 20" in lines[0]
    assert len(lines) == 1 + LISTED_FAULTS
    report = load_problems(path, on_error="skip").report
    assert (report.total_faults, len(report.faults), report.loaded) == (35, LISTED_FAULTS, 1)


def test_strict_stops_reading_a_file_that_is_all_faults(tmp_path: Path) -> None:
    path = write(tmp_path / "f", *["{"] * (MAX_STRICT_FAULTS + 500))
    with pytest.raises(DataError, match="reading stopped at record 1,000: 1,000 faults, one in each record") as raised:
        load_problems(path, "gsm8k")
    assert str(raised.value).startswith(f"{path}:1: record: must be one") and "\n" not in str(raised.value)
    with pytest.raises(DataError, match="holds no usable problems: 1,500 faults"):
        load_problems(path, "gsm8k", on_error="skip")


@pytest.mark.parametrize("on_error", ["strict", "skip"])
def test_a_file_without_a_problem_is_refused(tmp_path: Path, on_error: str) -> None:
    with pytest.raises(DataError, match="f holds no record: the file is blank"):
        load_problems(write(tmp_path / "f", "", "  "), on_error=on_error)


def test_a_path_that_is_no_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.jsonl does not exist: check the path$"):
        load_problems(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match=r"cannot be read .*check what is in the directory"):
        load_problems(tmp_path)


def test_a_file_of_the_size_of_gsm8k_loads_in_under_two_seconds(tmp_path: Path) -> None:
    path = write(tmp_path / "f", *(GSM8K | {"question": f"{i}: " + "How many nuts? " * 15} for i in range(7_473)))
    start = time.perf_counter()
    assert len(load_problems(path)) == 7_473
    assert time.perf_counter() - start < 2
