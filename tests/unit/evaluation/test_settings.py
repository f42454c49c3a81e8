from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.configs import reread
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.evaluation.settings import EvaluateConfig, OtherExecutor, benchmark_name, check_attempts, check_files

GOOD = EvaluateConfig("/", (), 0, "greedy", (1, 4), None, None, OtherExecutor(None, None, None), 0.95, 1000)


def check(config: EvaluateConfig) -> None:
    check_files(config)
    check_attempts(config, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traces": "beam"}, "traces=beam: must be greedy or sampled"),
        ({"pass_at": (1, 5)}, "pass_at=5: must be at most evaluation.num_samples=4"),
        ({"pass_at": (0,)}, "pass_at[0]=0: must be 1 or more"),
        ({"confidence": 95.0}, "confidence=95.0: must be above 0 and below 1"),
        ({"resamples": 10}, "resamples=10: must be 100 or more"),
        ({"limit": -1}, "limit=-1: must be 0 or more"),
        ({"benchmarks": ("/no/such.jsonl",)}, "benchmarks=/no/such.jsonl: is no file"),
        ({"benchmarks": ("/no/such.csv?format=gsm8k",)}, "benchmarks=/no/such.csv: is no file"),
        ({"benchmarks": ("/a.csv?format=gsm8",)}, "benchmarks=/a.csv?format=gsm8: there is no format gsm8; did you"),
        ({"against": "/no/such"}, "against=/no/such: is no directory; give the directory of a finished"),
        ({"other_executor": OtherExecutor("/no/such", None, None)}, "other_executor.model=/no/such: is no directory"),
        ({"other_executor": OtherExecutor(None, "chat", None)}, "other_executor.prompt=chat: has no effect without"),
        ({"other_executor": OtherExecutor("/", None, "openai")}, "other_executor.engine=openai: must be vllm or"),
    ],
)
def test_wrong_values_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    check(GOOD)
    with pytest.raises(ConfigError) as raised:
        check(reread(replace(GOOD, **change)))
    assert message in str(raised.value)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / folder / "sums.jsonl" for folder in ("gsm8k", "math")]
    for file in files:
        file.parent.mkdir()
        file.write_text("{}\n")
    with pytest.raises(ConfigError, match="two files are called sums"):
        check(replace(GOOD, benchmarks=tuple(map(str, files))))


def test_a_benchmark_is_called_by_its_file_or_by_its_folder_too_where_the_file_says_little() -> None:
    names = [
        benchmark_name(path)
        for path in ("/data/HumanEval.jsonl", "/data/gsm8k/test.jsonl", "/data/math/test.csv?answer=a/b.c&task==math")
    ]
    assert names == ["HumanEval", "gsm8k/test", "math/test"]
