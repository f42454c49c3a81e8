"""The learner on real DeepSpeed ranks: the update against plain torch, and its independence of how a batch is cut."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.hang import HANG_S
from tests.integration.learner_cases import BATCHES, TEMPERATURE, on_one_rank, on_two_ranks
from tests.integration.learner_ranks import Outcome, run_ranks
from tests.tiny import make_tiny_llama
from tracelift_ray.training.ranks import free_port
from tracelift_ray.types import TrainSample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("learner")


@pytest.fixture(scope="module")
def model(folder):
    return make_tiny_llama(folder / "model", seed=3, tied=True, spread=0.05)


@pytest.fixture(scope="module")
def wide(folder):
    """A model whose embedding and output layer are large enough for ZeRO-3 to divide them."""
    return make_tiny_llama(folder / "wide", seed=4, hidden=512, layers=1, spread=0.05)


@pytest.fixture(scope="module")
def one_rank(folder, model, wide) -> dict[str, Outcome]:
    return run_ranks(1, on_one_rank(folder, model, wide), folder / "one")


@pytest.fixture(scope="module")
def two_ranks(folder, model, wide, one_rank) -> dict[str, Outcome]:
    return run_ranks(2, on_two_ranks(folder, model, wide), folder / "two")


def difference(left: Outcome, right: Outcome, start: str) -> float:
    """How far apart two learners ended, relative to how far they moved. Not by element: where a gradient is close to
    zero AdamW turns its rounding error into a step."""
    assert left.error is None and right.error is None, (left.error, right.error)
    before = dict(AutoModelForCausalLM.from_pretrained(start).named_parameters())
    assert left.weights.keys() == right.weights.keys() == before.keys()
    apart = sum((left.weights[name].float() - right.weights[name].float()).square().sum() for name in before)
    moved = sum((left.weights[name].float() - before[name].detach()).square().sum() for name in before)
    return float((apart / moved).sqrt())


def sample_logprobs(model, sample: TrainSample) -> torch.Tensor:
    ids = torch.tensor([sample.prompt_ids + sample.completion_ids])
    logits = model(input_ids=ids).logits[0, len(sample.prompt_ids) - 1 : -1] / TEMPERATURE
    return torch.log_softmax(logits, -1)[range(len(sample.completion_ids)), list(sample.completion_ids)]


def plain_training(model_path: str, token_scale) -> tuple[dict[str, torch.Tensor], list[float], list[float]]:
    """Both batches in plain torch, one unpadded sample at a time: weights, losses and gradient norms."""
    model = AutoModelForCausalLM.from_pretrained(model_path)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    losses, norms = [], []
    for batch in BATCHES:
        loss = torch.zeros(())
        for sample in batch.samples:
            current = sample_logprobs(model, sample)
            weight = (current.detach() - torch.tensor(sample.behaviour_logprobs)).exp().clamp(max=2.0)
            ratio = (current - current.detach()).exp()
            loss = loss - (weight * sample.advantage * ratio).sum() * token_scale(sample, batch)
        loss.backward()
        losses.append(loss.item())
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        optimizer.zero_grad()
    return {name: tensor.detach() for name, tensor in model.named_parameters()}, losses, norms


@pytest.mark.parametrize(
    ("case", "token_scale"),
    [
        ("zero 0", lambda sample, batch: 1 / batch.num_tokens),
        ("sequence", lambda sample, batch: 1 / (batch.num_traces * len(sample.completion_ids))),
        ("constant", lambda sample, batch: 1 / (batch.num_traces * 16)),
    ],
)
def test_two_updates_are_those_of_plain_torch(one_rank, model, case, token_scale):
    weights, losses, norms = plain_training(model, token_scale)
    assert [m.grad_norm for m in one_rank[case].metrics] == pytest.approx(norms, rel=1e-4)
    assert [m.loss for m in one_rank[case].metrics] == pytest.approx(losses, rel=1e-4)
    assert difference(Outcome(weights=weights), one_rank[case], model) < 1e-3


@pytest.mark.parametrize(
    ("case", "whole"),
    [
        ("zero 0, small", "zero 0"),
        ("zero 0, recomputed", "zero 0"),
        ("zero 0, packed", "zero 0"),
        ("zero 2, small", "zero 0"),
        ("zero 3, small", "zero 0"),
        ("zero 3, packed, small", "zero 0"),
        ("gspo, packed, small", "gspo"),
        ("cispo, packed, small", "cispo"),
        ("zero 1, optimizer offloaded", "zero 0"),
    ],
)
def test_one_rank_updates_alike_under_every_cut(one_rank, case, whole, model):
    assert difference(one_rank[case], one_rank[whole], model) < 1e-3
    for here, there in zip(one_rank[case].metrics, one_rank[whole].metrics, strict=True):
        assert here.loss == pytest.approx(there.loss, rel=1e-4)
        assert here.grad_norm == pytest.approx(there.grad_norm, rel=1e-4)
        assert here.mismatch_mean == pytest.approx(there.mismatch_mean, rel=1e-4)
    if "small" in case:
        assert one_rank[case].metrics[0].micro_batches > 2


@pytest.mark.parametrize(
    ("case", "alone"),
    [
        ("zero 0", "zero 0"),
        ("zero 1, small", "zero 0"),
        ("zero 2, packed, small", "zero 0"),
        ("zero 3", "zero 0"),
        ("kl, zero 3", "kl"),
        ("gspo, zero 2, small", "gspo"),
        ("cispo, zero 3, small", "cispo"),
        ("gspo, single", "gspo, single"),
        ("single, zero 3", "single"),
        ("divided rows", "zero 0"),
        ("divided rows, gspo, small", "gspo"),
        ("divided rows, cispo, zero 3", "cispo"),
        ("divided rows, lora, kl", "lora, kl"),
    ],
)
def test_two_ranks_update_like_one(one_rank, two_ranks, case, alone, model):
    assert difference(two_ranks[case], one_rank[alone], model) < 1e-3
    for here, there in zip(two_ranks[case].metrics, one_rank[alone].metrics, strict=True):
        for key in ("loss", "grad_norm", "entropy", "mismatch_max", "reference_kl", "ratio_max", "tokens"):
            assert getattr(here, key) == pytest.approx(getattr(there, key), rel=1e-4, abs=1e-9), key


@pytest.mark.parametrize(
    ("case", "alone"),
    [
        ("long, small", "long"),
        ("long, offloaded", "long"),
        ("long, zero 3", "long, kl"),
        ("long, cispo, zero 3", "long, cispo"),
        ("long, zero 3, packed", "long"),
        ("long, zero 3, offloaded", "long"),
        ("divided rows, long, kl", "long, kl"),
    ],
)
def test_an_output_layer_in_chunks_updates_like_one_in_a_single_call(one_rank, two_ranks, case, alone, wide):
    found, expected = (one_rank | two_ranks)[case], one_rank[alone]
    assert difference(found, expected, wide) < 1e-3
    for here, there in zip(found.metrics, expected.metrics, strict=True):
        for key in ("loss", "grad_norm", "entropy", "reference_kl"):
            assert getattr(here, key) == pytest.approx(getattr(there, key), rel=1e-4, abs=1e-9), key


def test_metrics_describe_the_tokens_of_the_batch(one_rank, model):
    fresh = AutoModelForCausalLM.from_pretrained(model)
    gaps = [(sample_logprobs(fresh, s).detach() - torch.tensor(s.behaviour_logprobs)).abs() for s in BATCHES[0].samples]
    first = one_rank["zero 0"].metrics[0]
    assert first.mismatch_mean == pytest.approx(torch.cat(gaps).mean().item(), rel=1e-4)
    assert first.mismatch_max == pytest.approx(torch.cat(gaps).max().item(), rel=1e-4)
    assert first.tokens == sum(len(s.completion_ids) for s in BATCHES[0].samples)
    assert (first.samples, first.steps, first.clip_fraction) == (7, 1, 0.0)
    assert first.ratio_mean == pytest.approx(1.0) and first.reference_kl == 0.0
    assert 0 < first.entropy < 5.6  # below the log of the vocabulary


def test_clipping_bounds_the_update_and_reports_the_norm_before_it(one_rank, model):
    clipped, free = one_rank["zero 0"], one_rank["unclipped"]
    assert clipped.metrics[0].grad_norm == pytest.approx(free.metrics[0].grad_norm, rel=1e-6)
    assert clipped.metrics[0].grad_norm > 1.0
    assert difference(clipped, free, model) > 0.01


def test_several_steps_on_a_batch_move_the_ratio_and_the_reference_stays_put(one_rank):
    first = one_rank["kl"].metrics[0]
    assert first.steps == 2 and one_rank["kl"].version == 4
    assert first.ratio_max > 1.0 and first.reference_kl > 0.0


def test_a_batch_without_samples_makes_no_step_and_no_version(one_rank, model):
    empty = one_rank["empty"]
    assert empty.metrics[0] is None and empty.version == 2
    assert difference(empty, one_rank["zero 0"], model) == 0.0


def test_bfloat16_updates_agree_to_its_precision(one_rank, model):
    reference = one_rank["bfloat16"]
    assert all(tensor.dtype == torch.bfloat16 for tensor in reference.weights.values())
    for case in ("bfloat16, small", "bfloat16, zero 0", "bfloat16, zero 3"):
        assert difference(one_rank[case], reference, model) < 0.2
        assert one_rank[case].metrics[0].grad_norm == pytest.approx(reference.metrics[0].grad_norm, rel=0.02)


@pytest.mark.parametrize("ranks", ["one_rank", "two_ranks"])
def test_a_learner_that_saves_and_loads_goes_on_as_if_it_had_not(request, one_rank, ranks, model):
    outcomes = request.getfixturevalue(ranks)
    assert outcomes["second half"].version == 2
    assert difference(outcomes["second half"], one_rank["zero 0"], model) < 1e-3
    assert outcomes["second half"].metrics[0].loss == pytest.approx(one_rank["zero 0"].metrics[1].loss, rel=1e-4)


def test_state_of_another_layout_is_refused_by_key_and_value(one_rank, two_ranks):
    for outcome, ranks, stage in ((one_rank["other stage"], 1, 2), (two_ranks["other ranks"], 2, 1)):
        assert (
            "was saved with learner.num_workers=1, learner.zero_stage=1, learner.dtype=float32, but " in outcome.error
        )
        assert f"this run has learner.num_workers={ranks}, learner.zero_stage={stage}, " in outcome.error
        assert "planner.model set to the checkpoint's planner directory" in outcome.error
    assert "holds no learner state" in one_rank["no state"].error


@pytest.mark.parametrize("what", ["state", "planner"])
def test_a_save_that_does_not_fit_is_one_clear_line(one_rank, what):
    error = one_rank[f"no room for {what}"].error
    assert error.startswith("CheckpointError: checkpoint: cannot write") and "\n" not in error


@pytest.mark.parametrize(("ranks", "case", "saved"), [(1, "zero 3, small", "planner-1"), (2, "zero 3", "planner-2")])
def test_the_saved_planner_is_an_ordinary_directory(one_rank, two_ranks, folder, model, ranks, case, saved):
    outcome = (one_rank if ranks == 1 else two_ranks)[case]
    loaded = AutoModelForCausalLM.from_pretrained(folder / saved)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, outcome.weights[name]), name
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    text = "one <reasoning> two </reasoning>"
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (folder / saved, model)]
    assert tokenizers[0](text).input_ids == tokenizers[1](text).input_ids


PLAIN_VLLM = """
import sys
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=64, max_num_seqs=4, enforce_eager=True, kv_cache_memory_bytes=2**26)
(written,) = llm.generate("one two", SamplingParams(max_tokens=4, ignore_eos=True))[0].outputs
print("tokens", len(written.token_ids))
"""


def test_the_saved_planner_is_served_by_plain_vllm(one_rank, folder):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TORCH_COMPILE_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_VLLM, str(folder / "planner-1")],
        env=environment | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert "tokens 4\n" in done.stdout, done.stderr[-3000:]


def test_specs_name_every_tensor_once_with_its_full_shape(two_ranks):
    outcome = two_ranks["zero 3"]
    assert [spec.name for spec in outcome.specs] == list(outcome.weights)
    assert all(spec.shape == tuple(outcome.weights[spec.name].shape) for spec in outcome.specs)
    assert "lm_head.weight" not in outcome.weights  # tied
    assert {spec.dtype for spec in outcome.specs} == {"float32"}


def test_weights_sent_from_zero_3_arrive_whole(two_ranks):
    checksum, received, tensors = two_ranks["zero 3"].sent
    assert checksum == received
    assert all(torch.equal(tensors[name], tensor) for name, tensor in two_ranks["zero 3"].weights.items())
    assert not list(Path("/dev/shm").glob("tracelift-learner-test*"))


def test_a_rank_that_waits_in_vain_says_for_whom():
    code = (
        "import sys\n"
        "from tests.learner_configs import learner\n"
        "from tracelift_ray.rl.learner import engine_settings\n"
        "from tracelift_ray.training.engine import join\n"
        "from tracelift_ray.training.ranks import RankPlace\n"
        "from tracelift_ray.errors import InfrastructureError\n"
        "try:\n"
        f"    join(RankPlace(0, 2, '127.0.0.1', {free_port()}), engine_settings(learner(startup_s=2.0)))\n"
        "except InfrastructureError as error:\n"
        "    print(error)\n"
        "    sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 7, done.stderr[-2000:]
    assert "learner: rank 0 waited 2 s for 2 ranks at 127.0.0.1" in done.stdout


@pytest.mark.parametrize(
    ("case", "alone"),
    [
        ("lora, zero 2, small", "lora"),
        ("lora, zero 3", "lora"),
        ("dora, zero 3", "dora"),
        ("lora, second half", "lora"),
    ],
)
def test_adapters_update_alike_under_every_cut_and_stage_and_after_a_resume(one_rank, case, alone, model):
    assert difference(one_rank[case], one_rank[alone], model) < 1e-3


def test_adapters_on_two_ranks_update_like_those_on_one(one_rank, two_ranks, model):
    assert difference(two_ranks["lora, kl, zero 3, small"], one_rank["lora, kl"], model) < 1e-3
    for here, there in zip(two_ranks["lora, kl, zero 3, small"].metrics, one_rank["lora, kl"].metrics, strict=True):
        assert here.reference_kl == pytest.approx(there.reference_kl, rel=1e-3)


def test_the_reference_of_adapters_is_their_base(one_rank, model):
    """Before the first step the two are one; after it their divergence is that of the merged from the start weights."""
    (first,), (second,) = one_rank["lora, kl, one step"].metrics, one_rank["lora, kl, second step"].metrics
    assert first.reference_kl == pytest.approx(0.0, abs=1e-7)
    base, moved = (AutoModelForCausalLM.from_pretrained(model) for _ in range(2))
    moved.load_state_dict(one_rank["lora, kl, one step"].weights, strict=False)
    with torch.no_grad():
        apart = torch.cat([sample_logprobs(base, s) - sample_logprobs(moved, s) for s in BATCHES[1].samples])
    assert second.reference_kl == pytest.approx((apart.exp() - 1 - apart).mean().item(), rel=1e-2)


def test_adapters_travel_alone_from_zero_3(two_ranks):
    outcome = two_ranks["adapter, zero 3"]
    checksum, received, tensors = outcome.sent
    assert checksum == received
    assert all(".lora_" in name for name in tensors) and tensors.keys() == outcome.weights.keys()
    assert all(torch.equal(tensors[name], outcome.weights[name]) for name in tensors)


def test_adapters_of_another_shape_and_layers_that_are_not_there_are_refused(one_rank, folder):
    assert "learner.lora.rank=4, but this run has" in one_rank["other lora"].error
    assert "state-lora has adapters of other weights than those in" in one_rank["other base"].error
    assert "names c_attn, which is no layer of this model; it has down_proj" in one_rank["lora without layers"].error
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {
        each.name for each in (folder / "adapter").iterdir()
    }


@pytest.mark.parametrize("case", ["zero 3", "dropout, zero 3", "divided rows, cispo, zero 3"])
def test_scores_are_those_of_the_weights_without_dropout(two_ranks, model, case):
    plain = AutoModelForCausalLM.from_pretrained(model)
    plain.load_state_dict(two_ranks[case].weights, strict=False)
    with torch.no_grad():
        wanted = [sample_logprobs(plain, sample).tolist() for sample in BATCHES[0].samples]
    assert [list(scores) for scores in two_ranks[case].scores] == [pytest.approx(each, abs=1e-4) for each in wanted]
