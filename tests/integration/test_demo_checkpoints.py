"""The shipped checkpoints are small, whole, and what the documentation says of them: measured on held-out problems."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

import tracelift_ray.demo
from tracelift_ray.config.models import PoolConfig, ReasoningRmConfig
from tracelift_ray.demo.make_checkpoints import executor_row, planner_row
from tracelift_ray.demo.source import demo_groups, demo_problems, trace_is_valid
from tracelift_ray.demo.tokenizer import build_tokenizer
from tracelift_ray.demo.traces import artifact_of, clean_lines, render
from tracelift_ray.demo.training import Recipe, fit, new_language_model
from tracelift_ray.demo.world import read_statement
from tracelift_ray.reasoning_rm.scoring.local import RubricScorer
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer

CHECKPOINTS = Path(tracelift_ray.demo.__file__).parent / "checkpoints"
NAMES = ("planner", "executor", "reasoning_rm")
TASKS: tuple[str, ...] = ("math", "code")


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_at_most_three_megabytes_with_the_tokenizer_of_the_source(name):
    directory = CHECKPOINTS / name
    assert sum(file.stat().st_size for file in directory.iterdir()) <= 3_000_000
    assert (directory / "tokenizer.json").read_text() == build_tokenizer().backend_tokenizer.to_str(pretty=True)


def _greedy(model, tokenizer, prompts, length):
    """Greedy completions of prompts, one after another in one padded batch."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("</reasoning>")]
    output = model.generate(ids, attention_mask=mask, max_new_tokens=length, do_sample=False, eos_token_id=stops)
    return [text.strip() for text in tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)]


@pytest.fixture(scope="module")
def executor():
    from transformers import AutoModelForCausalLM

    directory = str(CHECKPOINTS / "executor")
    return AutoModelForCausalLM.from_pretrained(directory).eval(), load_tokenizer(directory)


@pytest.mark.parametrize("task", TASKS)
def test_the_executor_follows_traces_and_mostly_fails_without_one(executor, task):
    model, tokenizer = executor
    renderer = PromptRenderer(tokenizer, "demo")
    problems = demo_problems(task, 40, 11, "heldout")
    clean = [clean_lines(read_statement(task, problem.statement)) for problem in problems]
    wanted = [artifact_of(task, lines) for lines in clean]
    traces = [render(task, lines) for lines in clean]
    prompts = [renderer.executor(p, trace).token_ids for p, trace in zip(problems, traces, strict=True)]
    followed = _greedy(model, tokenizer, prompts, 40)
    alone = _greedy(model, tokenizer, [renderer.executor(p, None).token_ids for p in problems], 40)
    assert sum(a == b for a, b in zip(followed, wanted, strict=True)) >= 34
    assert sum(a == b for a, b in zip(alone, wanted, strict=True)) <= 22


@pytest.mark.parametrize("task", TASKS)
def test_the_planner_closes_its_traces_and_few_of_them_are_valid(task):
    from transformers import AutoModelForCausalLM

    directory = str(CHECKPOINTS / "planner")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(directory).eval(), load_tokenizer(directory)
    renderer = PromptRenderer(tokenizer, "demo")
    problems = demo_problems(task, 40, 12, "heldout")
    traces = _greedy(model, tokenizer, [renderer.planner(problem).token_ids for problem in problems], 44)
    closed = [trace.endswith("</reasoning>") for trace in traces]
    valid = [
        trace_is_valid(problem, trace.removesuffix("</reasoning>").strip())
        for problem, trace in zip(problems, traces, strict=True)
    ]
    assert sum(closed) >= 38
    assert sum(valid) <= 20


@pytest.mark.parametrize("task", TASKS)
def test_the_reasoning_rm_ranks_valid_traces_above_flawed_ones(task):
    pool = PoolConfig(workers=1, cpus_per_worker=1, gpus_per_worker=0, max_concurrency=1, deadline_s=60, retries=0)
    model = str(CHECKPOINTS / "reasoning_rm")
    scorer = RubricScorer(ReasoningRmConfig("model", model, "float32", 256, 8192, remote=None, judge=None, pool=pool))
    right = valid = flawed = pairs = 0.0
    groups = list(demo_groups(task, 25, 13, "heldout"))
    for group in groups:
        traces = [trace.reasoning for trace in (*group.positives, *group.negatives)]
        best, *rest = [score.score for score in scorer.score([(group.problem, trace) for trace in traces])]
        right += sum(best > score for score in rest)
        pairs += len(rest)
        valid += best
        flawed += sum(rest)
    assert right / pairs >= 0.95
    assert valid / len(groups) - flawed / pairs > 0.3


def test_the_reasoning_rm_is_an_ordinary_one():
    config = json.loads((CHECKPOINTS / "reasoning_rm" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForReasonRewardModel"]
    weights = load_file(CHECKPOINTS / "reasoning_rm" / "model.safetensors")
    parts = {name.partition(".")[0] for name in weights}
    assert parts == {"model", "dimension_heads", "total_head"}


@pytest.mark.parametrize("draw", [executor_row, planner_row])
def test_training_lowers_the_loss(draw):
    torch.manual_seed(0)
    rng = Random(0)
    model = new_language_model()
    untrained = fit(model, lambda: draw(rng), Recipe(steps=1, rows_per_step=8, lr=1e-9, warmup_steps=1))
    trained = fit(model, lambda: draw(rng), Recipe(steps=16, rows_per_step=8, lr=3e-3, warmup_steps=4), log_every=4)
    assert trained < untrained - 0.7
