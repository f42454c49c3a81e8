"""A run on multiple choice, end to end with tiny models: an MMLU file, prompts of the user's own, the chance level."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tests.tiny import make_tiny_llama

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = """
form: text
tasks:
  choice:
    planner: {prompt: "{{ statement }}", opening: "\\n<reasoning>", stop: ["</reasoning>"]}
    executor:
      without_reasoning: "{{ statement }}"
      with_reasoning: "{{ statement }} {{ reasoning }}"
      opening: "\\nAnswer: "
      stop: []
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of uplift_only on eight questions of four options."""
    folder = tmp_path_factory.mktemp("choice")
    model = make_tiny_llama(folder / "model", context=256)
    records = [
        {"question": f"Which is {i}?", "choices": [str(i), "x", "y", "z"], "answer": 0, "subject": "sums"}
        for i in range(8)
    ]
    (folder / "mmlu.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    (folder / "mine.yaml").write_text(PROMPTS)
    command = [
        *(sys.executable, "-m", "launch.train", "data=mmlu", f"data.train=[{folder}/mmlu.jsonl]"),
        *(f"run_dir={folder}/run", "total_steps=2", "tracking.wandb=disabled", "reward=uplift_only"),
        *("reward.malformed=whole_text", "algorithm.groups_per_step=2", "algorithm.group_size=2"),
        *("data.heldout_fraction=0.3", "evaluation.problems=2", "evaluation.num_samples=2", "learner.save_every=0"),
    ]
    for pool in ("planner", "executor"):
        command += [f"{pool}=transformers", f"{pool}.model={model}", f"{pool}.prompt={folder}/mine.yaml"]
        command += [f"{pool}.max_prompt_tokens=128", f"{pool}.sampling.max_new_tokens=8"]
        command += [f"{pool}.engine.max_model_len=256"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder / "run"


def test_a_run_on_multiple_choice_trains_and_shows_the_rate_of_a_guess(run_dir: Path) -> None:
    metrics = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in metrics if record["kind"] == "training"]
    assert [record["step"] for record in steps] == [1, 2]
    assert all(record["system/choice/chance"] == 0.25 for record in steps)
    assert all(0 <= record["system/choice/baseline"] <= 1 for record in steps)
    evaluated = [record for record in metrics if record["kind"] == "evaluation"]
    assert evaluated and evaluated[-1]["evaluation/choice/chance"] == 0.25


def test_traces_and_prompts_are_on_record(run_dir: Path) -> None:
    traces = [json.loads(line) for line in (run_dir / "trajectories.jsonl").read_text().splitlines()]
    assert len(traces) == 8 and {trace["task"] for trace in traces} == {"choice"}
    assert all(trace["statement"].endswith("B. x\nC. y\nD. z") and trace["task_type"] == "sums" for trace in traces)
    for role in ("planner", "executor"):
        assert "without_reasoning" in (run_dir / "prompts" / f"{role}.yaml").read_text()
