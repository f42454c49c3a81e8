import json
from dataclasses import replace

import pytest

from tests.unit.tracking.worlds import executed, group, scored, trajectory
from tracelift_ray.tracking.aggregate import batch_metrics
from tracelift_ray.tracking.records import MAX_STATEMENT_CHARS, MAX_TEXT_CHARS, trajectory_record
from tracelift_ray.types import Baseline


def test_a_record_holds_everything_known_of_the_trace() -> None:
    one = trajectory(
        2,
        outcomes=("passed", "wrong_answer"),
        fresh="passed",
        rubric=0.6,
        uplift=0.25,
        reward=0.7,
        leaked=True,
        version=4,
    )
    baseline = Baseline(1, 4, executions=executed("passed", "wrong_answer"))
    record = trajectory_record(9, group(one, serial=31, baseline=baseline), one, 1.5)
    assert json.loads(json.dumps(record)) == record
    assert (record["step"], record["group"], record["index"], record["oldest_version"]) == (9, 31, 2, 4)
    assert record["successes"] == [1, 0]
    assert [verdict["outcome"] for verdict in record["verdicts"]] == ["passed", "wrong_answer"]
    assert record["fresh"]["artifact"] == "7"
    assert (record["baseline"], record["baseline_successes"], record["baseline_samples"]) == (0.25, 1, 4)
    assert [(each["outcome"], each["artifact"]) for each in record["baseline_verdicts"]] == [
        ("passed", "7"),
        ("wrong_answer", "7"),
    ]
    assert record["rubric"]["labels"]["calculation_correctness"] == 1.0 and record["rubric"]["score"] == 0.6
    assert (record["uplift"], record["reward"], record["advantage"], record["leaked"]) == (0.25, 0.7, 1.5, True)


def test_what_is_missing_is_null() -> None:
    one = trajectory(malformed="length", masked="executor: died")
    record = trajectory_record(1, group(one), one, None)
    for name in ("reasoning", "fresh", "rubric", "uplift", "reward", "advantage", "baseline"):
        assert record[name] is None, name
    assert record["baseline_verdicts"] == []
    assert (record["malformed"], record["masked"]) == ("length", "executor: died")


def test_a_malformed_trace_keeps_its_prompt_and_its_text() -> None:
    one = trajectory(malformed="length")
    one = replace(one, trace=replace(one.trace, prompt="Solve: 1 + 1 = ?"))
    record = trajectory_record(1, group(one), one, None)
    assert (record["prompt"], record["text"]) == ("Solve: 1 + 1 = ?", one.trace.completion.text)


def test_huge_texts_are_cut_and_say_so() -> None:
    one = trajectory(reasoning="r" * 50_000, reward=0.0)
    record = trajectory_record(1, group(one, statement="s" * 200_000), one, 0.0)
    assert len(record["statement"]) < MAX_STATEMENT_CHARS + 50 and "198000 more" in record["statement"]
    assert len(record["reasoning"]) < MAX_TEXT_CHARS + 50


def test_the_answers_without_a_trace_stand_once_in_a_group_and_are_cut() -> None:
    traces = [trajectory(index, reward=0.0) for index in (1, 2)]  # the planner failed to write the first
    drawn = executed("passed")[0]
    long = replace(drawn, artifact=replace(drawn.artifact, content="a" * 50_000))
    whole = group(*traces, baseline=Baseline(1, 1, executions=(long,)))
    first, second = (trajectory_record(1, whole, each, 0.0)["baseline_verdicts"] for each in traces)
    assert len(first[0]["artifact"]) < MAX_STATEMENT_CHARS + 50 and second == []


def test_answers_without_a_trace_that_were_not_kept_are_an_empty_list() -> None:
    one = trajectory(reward=0.0)
    assert trajectory_record(1, group(one, baseline=Baseline(1, 4)), one, 0.0)["baseline_verdicts"] == []


def test_a_rubric_of_the_wrong_width_is_refused() -> None:
    one = trajectory(rubric=0.5, reward=0.0)
    assert one.rubric is not None
    object.__setattr__(one.rubric, "labels", (1.0, 2.0))
    with pytest.raises(ValueError):
        trajectory_record(1, group(one), one, 0.0)


def test_a_rubric_without_labels_is_recorded_by_its_score() -> None:
    one = trajectory(rubric=0.5, reward=0.0)
    assert one.rubric is not None
    object.__setattr__(one.rubric, "labels", ())
    rubric = trajectory_record(1, group(one), one, 0.0)["rubric"]
    assert (rubric["labels"], rubric["score"]) == ({}, 0.5)
    metrics = batch_metrics([scored(group(one))], 0)
    assert metrics["rubric/math/score"] == 0.5 and "rubric/math/step_coherence" not in metrics
