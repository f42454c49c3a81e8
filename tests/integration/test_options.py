"""Options that the documentation shows, each in a run on the real stack; those that go together share one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.training_runs import LIGHT, records, train

SHORT = (LIGHT, "total_steps=2", "evaluation.at_start=false", "evaluation.problems=0")


def test_adapters_learn_from_weighted_components_under_a_canary_and_a_curriculum(tmp_path: Path) -> None:
    algorithm = ("algorithm=gdpo", "+algorithm.component_weights={uplift: 2, rubric: 0.5}")
    algorithm += ("algorithm.correction=bypass",)
    learner = ("learner=lora", "learner.lr=1e-3", "stream.canary_bound=0.01")
    reward = ("reward.num_samples=1", "reward.baseline=pooled", "data.curriculum.enabled=true")
    train(tmp_path, *SHORT, *algorithm, *learner, *reward)
    steps = records(tmp_path, "training")
    assert [step["step"] for step in steps] == [1, 2]
    served = [step for step in steps if "weights/canary" in step]
    assert served and all(step["weights/canary"] < 0.01 for step in served)
    planner = tmp_path / "checkpoints" / "step-000002" / "planner"
    assert json.loads((planner / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_ranks_that_share_sequences_follow_an_asynchronous_stream_in_the_order_of_submission(tmp_path: Path) -> None:
    algorithm = ("algorithm=rloo", "algorithm.loss=gspo", "algorithm.correction=token_masked")
    stream = ("stream=asynchronous", "stream.order=submission", "planner.sampling.top_p=0.95")
    ranks = ("learner.num_workers=2", "learner.sequence_parallel=2")
    train(tmp_path, *SHORT, *algorithm, *stream, *ranks, "reward.e2e=fresh", "reward.num_samples=3")
    steps = records(tmp_path, "training")
    assert [step["step"] for step in steps] == [1, 2]
    traces = [json.loads(line) for line in (tmp_path / "trajectories.jsonl").read_text().splitlines()]
    executed = [trace for trace in traces if trace["malformed"] is None]
    assert executed and all(trace["fresh"] and len(trace["verdicts"]) == 3 for trace in executed)
