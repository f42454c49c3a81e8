"""A cached baseline is found again under the same identity, and under no other (invariant 6)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.errors import DataError
from tracelift_ray.rl.baseline_cache import BaselineCache, BaselineIdentity
from tracelift_ray.tasks.code import CodeTask
from tracelift_ray.types import Baseline, CodeTests, Problem, Prompt, SamplingParams

EXECUTOR = {"weights": "weights-1", "kind": "vllm", "dtype": "float32"}
IDENTITY = BaselineIdentity(EXECUTOR, {"math_timeout_s": 5.0}, {"cpu_s": 2.0, "tier": "auto"}, 16)
PARAMS = SamplingParams(64, 0.5, 1.0, n=16, stop=("\n\n",))
MATH = Problem("m", "math", "1 + 1 = ?", answer="2")
TESTS = CodeTests("function", asserts=("assert f(1) == 1", "assert f(2) == 2"), setup="x = 1")
CODE = Problem("c", "code", "write f", tests=TESTS)
FOUND = Baseline(5, 16)


def cache_in(
    directory: Path,
    identity: BaselineIdentity = IDENTITY,
    params: SamplingParams = PARAMS,
    template: str = "Solve: {}",
) -> BaselineCache:
    def request(problem: Problem) -> tuple[Prompt, SamplingParams]:
        text = template.format(problem.statement)
        return Prompt(tuple(text.encode()), text), params

    return BaselineCache(directory, identity, request)


def test_a_later_run_finds_what_an_earlier_one_sampled(tmp_path: Path) -> None:
    first = cache_in(tmp_path)
    assert first.get(MATH) is None
    first.put(MATH, FOUND)
    later = cache_in(tmp_path)
    assert later.get(MATH) == FOUND
    assert later.get(CODE) is None
    assert later.metrics() == {
        "baseline_cache/hits": 1.0,
        "baseline_cache/misses": 1.0,
        "baseline_cache/write_failures": 0.0,
    }


def test_two_running_runs_share_their_baselines(tmp_path: Path) -> None:
    one, two = cache_in(tmp_path), cache_in(tmp_path)
    assert two.get(MATH) is None
    one.put(MATH, FOUND)
    assert two.get(MATH) == FOUND
    one.put(CODE, Baseline(0, 16))
    assert two.get(CODE) == Baseline(0, 16)


def test_seed_and_number_of_samples_in_a_request_do_not_count(tmp_path: Path) -> None:
    cache_in(tmp_path).put(MATH, FOUND)
    assert cache_in(tmp_path, params=replace(PARAMS, seed=3, n=17, logprobs=True)).get(MATH) == FOUND


@pytest.mark.parametrize(
    "identity",
    [
        replace(IDENTITY, executor=EXECUTOR | {"weights": "weights-2"}),
        replace(IDENTITY, executor=EXECUTOR | {"dtype": "bfloat16"}),
        replace(IDENTITY, executor=EXECUTOR | {"kind": "transformers"}),
        replace(IDENTITY, verifier={"math_timeout_s": 1.0}),
        replace(IDENTITY, sandbox={"cpu_s": 1.0, "tier": "auto"}),
        replace(IDENTITY, sandbox={"cpu_s": 2.0, "tier": "auto", "added later": 1}),
        replace(IDENTITY, samples=32),
    ],
)
def test_another_executor_sample_count_or_verifier_never_hits(tmp_path: Path, identity: BaselineIdentity) -> None:
    cache_in(tmp_path).put(CODE, FOUND)
    assert cache_in(tmp_path, identity).get(CODE) is None
    assert cache_in(tmp_path).get(CODE) == FOUND


def test_other_rules_for_reading_artifacts_never_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_in(tmp_path).put(CODE, FOUND)
    monkeypatch.setattr(CodeTask, "extraction_version", "2")
    assert cache_in(tmp_path).get(CODE) is None


@pytest.mark.parametrize(
    "params",
    [
        replace(PARAMS, temperature=0.6),
        replace(PARAMS, top_p=0.9),
        replace(PARAMS, max_new_tokens=65),
        replace(PARAMS, stop=()),
    ],
    ids=["temperature", "top_p", "max_new_tokens", "stop"],
)
def test_another_sampling_never_hits(tmp_path: Path, params: SamplingParams) -> None:
    cache_in(tmp_path).put(CODE, FOUND)
    assert cache_in(tmp_path, params=params).get(CODE) is None


def test_another_prompt_never_hits(tmp_path: Path) -> None:
    cache_in(tmp_path).put(CODE, FOUND)
    assert cache_in(tmp_path, template="Solve it: {}").get(CODE) is None


@pytest.mark.parametrize(
    "problem",
    [
        replace(CODE, id="d"),
        replace(CODE, statement="write g"),
        replace(CODE, tests=TESTS.limited(1)),
        replace(CODE, tests=replace(TESTS, setup="x = 2")),
        replace(CODE, tests=replace(TESTS, entry_point="f")),
        replace(CODE, tests=CodeTests("stdio", inputs=("1",), outputs=("1",))),
    ],
    ids=["id", "statement", "asserts", "setup", "entry_point", "stdio"],
)
def test_another_problem_or_other_tests_never_hit(tmp_path: Path, problem: Problem) -> None:
    cache_in(tmp_path).put(CODE, FOUND)
    assert cache_in(tmp_path).get(problem) is None


def test_another_reference_answer_never_hits(tmp_path: Path) -> None:
    cache_in(tmp_path).put(MATH, FOUND)
    assert cache_in(tmp_path).get(replace(MATH, answer="3")) is None


def test_other_stdio_inputs_or_outputs_never_hit(tmp_path: Path) -> None:
    stdio = replace(CODE, tests=CodeTests("stdio", inputs=("1",), outputs=("2",)))
    cache_in(tmp_path).put(stdio, FOUND)
    others = (
        CodeTests("stdio", inputs=("3",), outputs=("2",)),
        CodeTests("stdio", inputs=("1",), outputs=("3",)),
        CodeTests("stdio", inputs=("1",), outputs=("2",), exact=True),
        CodeTests("stdio", inputs=("1",), outputs=("2",), rel_tol=0.1),
    )
    for tests in others:
        assert cache_in(tmp_path).get(replace(stdio, tests=tests)) is None


def test_the_first_baseline_of_a_problem_stays(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.put(MATH, FOUND)
    cache.put(MATH, Baseline(9, 16))
    assert cache.get(MATH) == FOUND
    assert cache_in(tmp_path).get(MATH) == FOUND


def torn(line: bytes) -> bytes:
    return line[: len(line) // 2]


def altered(line: bytes) -> bytes:
    record = json.loads(line)
    record["successes"] += 1
    return json.dumps(record).encode() + b"\n"


def foreign(line: bytes) -> bytes:
    return b'[1, 2]\n"text"\n{}\n{"check": 1}\n\xff\xfe\n'


@pytest.mark.parametrize("damage", [torn, altered, foreign])
def test_a_damaged_line_is_passed_over(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache_in(tmp_path).put(MATH, FOUND)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(damage(path.read_bytes()))
    cache = cache_in(tmp_path)
    assert cache.get(MATH) is None
    cache.put(MATH, FOUND)
    assert cache_in(tmp_path).get(MATH) == FOUND


def test_a_line_that_another_run_is_still_writing_is_read_once_it_is_whole(tmp_path: Path) -> None:
    cache_in(tmp_path / "source").put(MATH, FOUND)
    (path,) = (tmp_path / "source").glob("*.jsonl")
    line = path.read_bytes()
    shared = tmp_path / "shared"
    cache = cache_in(shared)
    (shared / "other.jsonl").write_bytes(line[:20])
    assert cache.get(MATH) is None
    with open(shared / "other.jsonl", "ab") as stream:
        stream.write(line[20:])
    assert cache.get(MATH) == FOUND


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from test_baseline_cache import MATH, cache_in\n"
        "from tracelift_ray.types import Baseline\n"
        "cache = cache_in(Path(sys.argv[1]))\n"
        "for i in range(200):\n"
        "    cache.put(replace(MATH, id=f'{sys.argv[2]}-{i}'), Baseline(i % 17, 16))\n"
    )
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name, here], env=environment)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(timeout=HANG_S) for writer in writers] == [0, 0, 0]
    cache = cache_in(tmp_path)
    for name in ("a", "b", "c"):
        for i in range(200):
            assert cache.get(replace(MATH, id=f"{name}-{i}")) == Baseline(i % 17, 16)


def test_a_disk_that_refuses_keeps_the_run_going_and_is_counted(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    cache = cache_in(directory)
    directory.rmdir()
    cache.put(MATH, FOUND)
    assert cache.get(MATH) == FOUND
    assert cache.metrics()["baseline_cache/write_failures"] == 1.0
    directory.mkdir()
    cache.put(CODE, FOUND)
    assert cache_in(directory).get(CODE) == FOUND


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        cache_in(tmp_path, replace(IDENTITY, samples=15))
    for wrong in (Baseline(3, 15), Baseline(17, 16), Baseline(-1, 16)):
        with pytest.raises(ValueError, match="no baseline of 16 samples"):
            cache_in(tmp_path).put(MATH, wrong)


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/cache cannot be made: Not a directory"):
        cache_in(tmp_path / "file" / "cache")
