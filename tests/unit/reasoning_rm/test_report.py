"""The report on a reward model: rankings and their intervals, likelihood, drift over a run, tables and files."""

import dataclasses
import json

import pytest
import torch

from tests.configs import reread
from tests.rm_groups import adding_groups
from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import JudgeConfig, PoolConfig, ReasoningRmConfig, RemoteConfig, SamplingConfig
from tracelift_ray.data.rubric_records import write_rubric_records
from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.report.drift import RunTrace, measure_drift, read_run
from tracelift_ray.reasoning_rm.report.likelihood import TraceLikelihood
from tracelift_ray.reasoning_rm.report.rankings import advantage, rank_by
from tracelift_ray.reasoning_rm.report.report import make_report, write_report
from tracelift_ray.reasoning_rm.report.settings import RmReportConfig, check_report
from tracelift_ray.reasoning_rm.report.tables import as_markdown, report_tables
from tracelift_ray.reasoning_rm.training.metrics import ScoredGroup, ScoredTrace
from tracelift_ray.types import Problem

PROBLEM = Problem("p", "math", "add the number 3 and 4", "math")


def scored(score, kind=None, length=10):
    return ScoredTrace((4,) * 5, (4,) * 5, 1.0, 1.0, score, length, kind)


def group(*scores, length=10):
    good, *bad = scores
    return ScoredGroup((scored(good),), tuple(scored(score, "slip", length) for score in bad))


def test_a_ranking_counts_pairs_groups_and_kinds():
    groups = [group(0.9, 0.1, 0.2), group(0.5, 0.5, 0.1)]
    ranking = rank_by("rm", groups, lambda trace: trace.score)
    assert (ranking.pairs.value, ranking.groups, ranking.kinds) == (0.75, 0.5, {"slip": 0.75})
    assert ranking.by_group == ((2, 2), (1, 2))
    assert ranking.pairs.low == 0.5 and ranking.pairs.high == 1.0  # every resample is of these two groups


def test_an_advantage_is_resampled_over_the_same_groups():
    groups = [group(0.9, 0.1), group(0.9, 0.1), group(0.1, 0.9)] * 20
    better = rank_by("a", groups, lambda trace: trace.score)
    same = rank_by("b", groups, lambda trace: 2 * trace.score)
    worse = rank_by("c", groups, lambda trace: -trace.score)
    assert dataclasses.astuple(advantage(better, same)) == (0.0, 0.0, 0.0)
    gain = advantage(better, worse)
    assert gain.value == pytest.approx(1 / 3) and 0 < gain.low < gain.value < gain.high < 0.7


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("lm"), tokenizer="word", hidden=32, context=128)


def test_likelihood_is_the_mean_log_probability_of_the_traces_tokens(words):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    traces = ["3 plus 4", "3 plus 5 is 8", "4"]
    values = TraceLikelihood(words, "float32", 64).of(PROBLEM.statement, traces)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(words), AutoTokenizer.from_pretrained(words)
    for trace, value in zip(traces, values, strict=True):
        head = tokenizer(PROBLEM.statement)["input_ids"]
        ids = torch.tensor([head + tokenizer(trace)["input_ids"]])
        chances = model(ids).logits[0].log_softmax(-1)
        by_hand = [chances[at - 1, ids[0, at]].item() for at in range(len(head), ids.shape[1])]
        assert value == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-5)


def run_trace(step, score, success, judge=None, uplift=0.1, group=0):
    return RunTrace(step, group, PROBLEM, "3 plus 4", score, success, uplift, judge)


def test_windows_hold_whole_steps_and_say_how_the_score_orders_traces():
    traces = [run_trace(step, 0.1 * number, float(number > 1)) for step in (1, 2, 3, 4) for number in range(4)]
    drift = measure_drift(traces, 2)
    assert [(w.first_step, w.last_step, w.traces) for w in drift.windows] == [(1, 2, 8), (3, 4, 8)]
    assert drift.windows[0].score.value == pytest.approx(0.15)
    assert drift.windows[0].success_order == pytest.approx(0.894, abs=1e-3)
    assert drift.windows[0].uplift_order is None and drift.windows[0].judge is None
    assert len(measure_drift(traces, 20).windows) == 4


def test_order_within_groups_is_apart_from_easy_and_hard_problems():
    easy = [run_trace(1, 0.9, 0.8, group=1), run_trace(1, 0.8, 1.0, group=1)]
    hard = [run_trace(1, 0.2, 0.0, group=2), run_trace(1, 0.1, 0.2, group=2)]
    (window,) = measure_drift([*easy, *hard], 1).windows
    assert window.success_order == pytest.approx(0.6)  # easy problems have higher scores and successes
    assert window.success_within == pytest.approx(-1.0)  # but the better trace of each has the lower score


def test_a_score_that_rises_while_the_judge_falls_is_told_apart_from_progress():
    def traces(judge):
        noise = (-0.05, 0.0, 0.05)
        return [
            run_trace(step, 0.2 + 0.1 * step + n, min(1.0, 0.4 + 0.1 * step + n), judge(step) + n)
            for step in range(6)
            for n in noise * 10
        ]

    honest = measure_drift(traces(lambda step: 0.3 + 0.1 * step), 6)
    assert honest.outrun == {"success": None, "uplift": None, "judge": None}
    gamed = measure_drift(traces(lambda step: 0.6 - 0.15 * max(0, step - 2)), 6)
    assert gamed.outrun == {"success": None, "uplift": None, "judge": 3}


def record(step, score=0.5, **changes):
    passed, failed = {"outcome": "passed"}, {"outcome": "wrong_answer"}
    plain = {
        "step": step,
        "group": step,
        "problem": "p",
        "task": "math",
        "task_type": "math",
        "statement": "add",
        "reasoning": "3 plus 4",
        "verdicts": [passed, failed],
        "fresh": passed,
        "uplift": 0.25,
        "rubric": {"score": score},
        "masked": None,
    }
    return {**plain, **changes}


def test_a_runs_scored_traces_are_read_and_others_left_out(tmp_path):
    kept = record(1, 0.7)
    left_out = [record(1, rubric=None), record(1, masked="executor"), record(2, verdicts=[], fresh=None)]
    path = tmp_path / "trajectories.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in (kept, *left_out)))
    (trace,) = read_run(tmp_path)
    assert (trace.score, trace.success, trace.uplift) == (0.7, pytest.approx(2 / 3), 0.25)
    path.write_text(json.dumps(left_out[0]) + "\n")
    with pytest.raises(DataError, match="no trace with an RM score"):
        read_run(tmp_path)
    with pytest.raises(DataError, match=r"no trajectories\.jsonl"):
        read_run(tmp_path / "nowhere")


def report_config(model, **changes):
    config = RmReportConfig(
        model=model,
        groups=None,
        heldout_fraction=1.0,
        limit=0,
        trace_only=None,
        backbone=None,
        run=None,
        windows=2,
        judge_traces=3,
        judge=None,
        dtype="float32",
        max_length=256,
        max_tests=0,
        batch_tokens=2048,
        share_prefixes=True,
        out=None,
    )
    return dataclasses.replace(config, **changes)


def judge_by(model):
    return ReasoningRmConfig("model", model, "float32", 256, 2048, None, None, PoolConfig(1, 1.0, 0.0, 8, 60.0, 0))


def judge_without_a_model():
    sampling = SamplingConfig(0.0, 1.0, 64, False)
    engine = engine_config("transformers", max_model_len=4096)
    judge = JudgeConfig("", "chat", sampling, engine, RemoteConfig("", "", "chat", "", 4, 5.0, 0))
    return dataclasses.replace(judge_by(""), backend="judge", judge=judge)


def test_a_whole_report_is_written_as_table_numbers_and_picture(words, make_reward_model, tmp_path):
    model = make_reward_model(tmp_path / "rm", words)
    blind = make_reward_model(tmp_path / "blind", words, show_problem=False)
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(6))
    run = tmp_path / "run"
    run.mkdir()
    lines = [json.dumps(record(step, 0.1 * step)) for step in range(1, 6)]
    (run / "trajectories.jsonl").write_text("\n".join(lines) + "\n")
    config = report_config(
        model,
        groups=str(tmp_path / "groups.jsonl"),
        trace_only=blind,
        backbone=words,
        run=str(run),
        judge=judge_by(blind),
        out=str(tmp_path / "out"),
    )
    check_report(config)
    report = make_report(config, say=lambda line: None)
    assert report.heldout is not None and report.drift is not None
    names = [ranking.name for ranking in report.heldout.rankings]
    assert names == ["reasoning RM", "trace only", "likelihood", "length"]
    assert report.heldout.metrics.pair_accuracy == report.heldout.rankings[0].pairs.value
    assert sum(window.judge is not None for window in report.drift.windows) == 2
    page = as_markdown(config.model, report_tables(report))
    where = write_report(report, config, page)
    assert "| pairs in the right order |" in (where / "report.md").read_text()
    numbers = json.loads((where / "report.json").read_text())
    assert numbers["heldout"]["advantages"]["likelihood"]["value"] == pytest.approx(
        numbers["heldout"]["rankings"][0]["pairs"]["value"] - numbers["heldout"]["rankings"][2]["pairs"]["value"]
    )
    assert (where / "report.png").stat().st_size > 10_000


def test_a_model_that_is_shown_the_problem_is_no_trace_only_model(words, make_reward_model, tmp_path):
    model = make_reward_model(tmp_path / "rm", words)
    write_rubric_records(tmp_path / "groups.jsonl", adding_groups(2))
    config = report_config(model, groups=str(tmp_path / "groups.jsonl"), trace_only=model)
    with pytest.raises(DataError, match="is shown the problem; train one with show_problem=false"):
        make_report(config, say=lambda line: None)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"groups": None}, "groups"),
        ({"judge": judge_by("other")}, "run"),
        ({"judge": judge_by(""), "run": "runs/x"}, r"judge\.model"),
        ({"judge": judge_without_a_model(), "run": "runs/x"}, r"judge\.judge\.model"),
        ({"dtype": "float16"}, "dtype"),
        ({"heldout_fraction": 0.0}, "heldout_fraction"),
        ({"windows": 0}, "windows"),
        ({"limit": -1}, "limit"),
    ],
)
def test_a_wrong_value_is_refused_by_name(changes, key):
    config = report_config("rm", groups="groups.jsonl")
    with pytest.raises(ConfigError, match=f"^{key}="):
        check_report(reread(dataclasses.replace(config, **changes)))
