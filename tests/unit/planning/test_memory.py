"""What members hold by the plan of a run, whether it fits, and the smallest change that makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.planning.models import LLAMA_8B, QWEN_1_5B, Shape, make_checkpoint
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.memory import learner, serving
from tracelift_ray.planning.memory.changes import smallest_change
from tracelift_ray.planning.memory.holdings import memory_plan
from tracelift_ray.planning.memory.learner import MicroBatch, activations, rank_plan
from tracelift_ray.planning.memory.parts import GIB
from tracelift_ray.planning.memory.shape import ModelShape, ShapeError, read_shape
from tracelift_ray.planning.memory.trained import trained_part
from tracelift_ray.planning.plan import NO_CHANGE, fit, render_plan
from tracelift_ray.planning.resources import ClusterResources, Node, resources_of

Run = Callable[..., RunConfig]
GPUS = (
    "planner=vllm_gpu",
    "executor=vllm_gpu",
    "reasoning_rm=model_gpu",
    "learner=gpu",
    "stream.weight_transfer=collective",
    "dry_run=true",
)


@pytest.fixture
def gpu_run(run_config: Run, tmp_path: Path) -> Run:
    """A run of models of 1.5 B parameters on GPUs, with further overrides."""
    model = make_checkpoint(tmp_path / "qwen", QWEN_1_5B)
    models = [f"{pool}.model={model}" for pool in ("planner", "executor", "reasoning_rm")]
    return lambda *overrides: run_config(*GPUS, *models, *overrides)


def gpus(count: int, gib: float, memory: float | None = None) -> ClusterResources:
    return resources_of([Node("n0", 64, count, gib, memory)])


def test_a_shape_counts_every_weight_once(tmp_path: Path) -> None:
    shape = read_shape(make_checkpoint(tmp_path / "a", LLAMA_8B))
    assert shape.parameters == 8_030_261_248 and not shape.tied and shape.gated and shape.itemsize == 2
    assert (shape.query, shape.keys, shape.head) == (4096, 1024, 128)
    tied = Path(make_checkpoint(tmp_path / "b", QWEN_1_5B))
    (tied / "consolidated.safetensors").write_bytes(b"another form of the same weights")
    assert read_shape(str(tied)).parameters == 1_543_656_960 and read_shape(str(tied)).tied


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config.json", "{}", "hidden_size"),
        ("config.json", '{"num_experts": 8}', "mixture of experts"),
        ("config.json", "{", "Expecting"),
        ("model-00002-of-00002.safetensors", "version https://git-lfs", "is no safetensors file"),
    ],
)
def test_a_shape_that_cannot_be_read_says_why(file: str, text: str, said: str, tmp_path: Path) -> None:
    directory = Path(make_checkpoint(tmp_path / "model", QWEN_1_5B))
    (directory / file).write_text(text)
    with pytest.raises(ShapeError, match=said):
        read_shape(str(directory))


def test_constants_are_those_of_the_code_that_they_describe() -> None:
    from tests.learner_configs import learner as settings
    from tracelift_ray.engines import batch_decoder, vllm_arguments
    from tracelift_ray.rl.learner import _BUCKET_MIB, engine_settings
    from tracelift_ray.training.logprobs import CHUNK

    zero = engine_settings(settings(dtype="bfloat16", zero_stage=2))
    assert learner.CHUNK == CHUNK and learner.GATHER == _BUCKET_MIB << 20
    assert zero.deepspeed()["zero_optimization"]["reduce_bucket_size"] == learner.BUCKET
    assert learner.stage_of(settings(dtype="bfloat16", zero_stage=0)) == 1
    assert serving.STEP_TOKENS == vllm_arguments.STEP_TOKENS
    assert serving.PREFILL_TOKENS == batch_decoder.PREFILL_TOKENS


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_forward_pass_keeps_is_what_the_formula_says(dtype: str) -> None:
    """All that autograd saves of a small model, weights left out, memory that tensors share counted once."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaModel(LlamaConfig(vocab_size=50, num_hidden_layers=3, **sizes)).to(getattr(torch, dtype))
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    mask = torch.ones(4, 48, dtype=torch.long)
    mask[0, 40:] = 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=torch.ones(4, 48, dtype=torch.long), attention_mask=mask)
    measured = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in weights)
    shape = ModelShape(0, 0, 3, 64, 160, 16, 64, 32, 50, True, 4)
    planned, _ = activations(shape, MicroBatch(4 * 48, 48), 4 if dtype == "float32" else 2, checkpointing=False)
    assert output.last_hidden_state.requires_grad and planned == pytest.approx(measured, rel=0.1)


def test_zero_stages_divide_what_they_say_and_offload_moves_it(gpu_run: Run) -> None:
    shape = read_shape(gpu_run().planner.model)
    p, n = shape.parameters, 4
    batch = ("learner.num_workers=4", "learner.micro_batch_tokens=4096")
    parts = {stage: rank_plan(gpu_run(*batch, f"learner.zero_stage={stage}"), shape).parts for stage in (1, 2, 3)}
    assert parts[1].weights == parts[2].weights == 2 * p and parts[3].weights == 2 * p / n
    assert {stage: parts[stage].optimizer for stage in parts} == dict.fromkeys((1, 2, 3), 12 * p / n)
    assert parts[1].total > parts[2].total > parts[3].total
    moved = rank_plan(gpu_run(*batch, "learner.offload_optimizer=true"), shape).parts
    assert moved.optimizer == 0 and moved.host > parts[2].host + 12 * p / n


def test_adapters_alone_have_gradients_and_an_optimizer(gpu_run: Run) -> None:
    """Of rank r an adapter has r (inputs + outputs) parameters; the model without them is the KL reference."""
    shape = read_shape(gpu_run().planner.model)
    run = gpu_run("learner.lora.rank=8", "learner.lora.target_modules=[q_proj,down_proj]", "algorithm.kl_coef=0.1")
    parts, adapted = rank_plan(run, shape).parts, 28 * 8 * (1536 + 1536 + 8960 + 1536)
    assert parts.weights == 2 * (shape.parameters + adapted) and parts.optimizer == 12 * adapted
    every = rank_plan(gpu_run("learner.lora.rank=8"), shape).parts
    assert parts.total < every.total < rank_plan(gpu_run(), shape).parts.total


def test_a_reference_model_is_a_second_copy(gpu_run: Run) -> None:
    shape = read_shape(gpu_run().planner.model)
    plain, kl = (rank_plan(gpu_run(f"algorithm.kl_coef={coefficient}"), shape).parts for coefficient in (0, 0.1))
    assert kl.total - plain.total == 2 * shape.parameters


def test_adapters_alone_have_gradients_and_moments_and_need_no_second_model(gpu_run: Run) -> None:
    shape = read_shape(gpu_run().planner.model)
    settings = ("learner.lora.rank=8", "algorithm.kl_coef=0.1", "learner.zero_stage=0", "learner.dtype=float32")
    adapted = gpu_run(*settings)
    number = trained_part(adapted.learner.lora, shape).parameters
    assert 0 < number < 0.01 * shape.parameters
    parts = rank_plan(adapted, shape).parts
    assert parts.weights == 4 * (shape.parameters + number)
    assert parts.optimizer == 8 * number and parts.gradients == pytest.approx(4 * number, rel=0.02)


def test_the_copy_that_shared_memory_holds_between_versions_is_there_all_the_time(gpu_run: Run) -> None:
    shape, sent = read_shape(gpu_run().planner.model), 4 * 1_543_656_960
    on_cpus = ("learner.gpus_per_worker=0", "learner.num_workers=1", "learner.collective=gloo", "learner.dtype=float32")
    kept, gone = (
        rank_plan(gpu_run(*on_cpus, f"stream.weight_transfer={name}"), shape)
        for name in ("shared_memory", "object_store")
    )
    assert kept.lasting - gone.lasting == pytest.approx(sent)
    assert kept.parts.buffers - gone.parts.buffers == pytest.approx(sent)
    assert kept.worst == gone.worst


def test_versions_that_are_sent_as_changes_have_a_copy_at_both_ends(gpu_run: Run) -> None:
    parameters = 1_543_656_960
    found = {}
    for encoding in ("full", "delta"):
        run = gpu_run(f"stream.weight_encoding={encoding}", "learner.num_workers=2", "learner.dtype=bfloat16")
        plan = memory_plan(run, gpus(8, 80))
        found[encoding] = {each.pool: each.parts.host for each in plan.held}
    more = {pool: host - found["full"][pool] for pool, host in found["delta"].items()}
    assert more["learner"] == pytest.approx(2 * parameters / 2)  # each rank's share of rank 0's
    assert more["planner"] == pytest.approx(2 * parameters)
    assert not any(each for pool, each in more.items() if pool not in ("learner", "planner"))


def test_ranks_that_share_rows_hold_a_part_of_each(gpu_run: Run) -> None:
    shape = read_shape(gpu_run().planner.model)
    alone = rank_plan(gpu_run("learner.num_workers=1"), shape)
    shared = rank_plan(gpu_run("learner.num_workers=2", "learner.sequence_parallel=2"), shape)
    assert shared.batch.tokens == -(-alone.batch.tokens // 2)
    assert shared.passing.total < alone.passing.total


def test_an_engine_reserves_its_share_and_says_what_its_cache_admits(gpu_run: Run) -> None:
    run = gpu_run("planner.engine.tensor_parallel_size=2", "planner.pool.gpus_per_worker=2")
    cluster = gpus(8, 40)
    held = {each.pool: each for each in memory_plan(run, cluster, fit(run, cluster).assignments).held}
    planner, executor = held["planner"], held["executor"]
    assert planner.total == executor.total == 0.9 * 40 * GIB and planner.admits and executor.admits
    assert planner.parts.weights == executor.parts.weights / 2
    per_token = 2 * 28 * 256 * 2
    assert executor.admits == pytest.approx(executor.parts.cache / (per_token * run.executor.engine.max_model_len))
    assert planner.admits > 2 * executor.admits


def test_a_run_without_known_sizes_is_planned_but_not_judged(gpu_run: Run, run_config: Run) -> None:
    found = fit(gpu_run(), resources_of([Node("n0", 64, 8)]))
    assert [each.pool for each in found.memory.held] == ["reasoning_rm", "learner"] and found.lacking == ()
    unreadable = fit(run_config(), gpus(1, 1))
    assert len(unreadable.memory.unknown) == 4 and unreadable.lacking == ()


def test_what_does_not_fit_is_added_up_and_the_smallest_change_is_named(gpu_run: Run) -> None:
    found = fit(gpu_run("learner.num_workers=2"), gpus(8, 20))
    assert len(found.lacking) == 1 and found.lacking[0].startswith("GPU 0 of n0: learner ")
    assert found.lacking[0].endswith("GiB, it has 20 (and 1 more GPUs like it)")
    assert found.advice == "It fits with learner.zero_stage=3"
    change = found.advice.removeprefix("It fits with ").split()
    assert fit(gpu_run("learner.num_workers=2", *change), gpus(8, 20)).lacking == ()
    plan = render_plan(gpu_run("learner.num_workers=2"), gpus(8, 20))
    assert plan.splitlines()[-2:] == [f"Shortfall: {found.lacking[0]}", found.advice]


SHARED = ("cluster.share_gpus=[[planner,learner]]", "learner.zero_stage=1", "planner.engine.gpu_memory_utilization=0.9")


def test_who_sleeps_while_the_learner_works_leaves_it_the_gpu(gpu_run: Run) -> None:
    """Each alone fits, and so do both in turn, where what the learner keeps leaves the engine its share."""
    fits = gpu_run(*SHARED, "planner.engine.gpu_memory_utilization=0.6")
    assert fit(fits, gpus(3, 80)).lacking == ()
    held = {each.pool: each for each in fit(fits, gpus(3, 80)).memory.held}
    assert held["planner"].total + held["learner"].total > 80 * GIB
    (line,) = fit(gpu_run(*SHARED), gpus(3, 80)).lacking
    assert line.startswith("GPU 0 of n0 while engines generate: planner 72.0 + learner ")


def test_a_change_is_as_small_as_will_do(gpu_run: Run) -> None:
    """Of the shares that fit, the one nearest to what was asked."""
    (setting,) = fit(gpu_run(*SHARED), gpus(3, 80)).advice.removeprefix("It fits with ").split()
    key, _, value = setting.partition("=")
    assert key == "planner.engine.gpu_memory_utilization" and 0.3 < float(value) < 0.9
    assert fit(gpu_run(*SHARED, setting), gpus(3, 80)).lacking == ()
    assert fit(gpu_run(*SHARED, f"{key}={float(value) + 0.05}"), gpus(3, 80)).lacking != ()


def test_a_change_names_each_setting_once(gpu_run: Run, tmp_path: Path) -> None:
    """Where the weights themselves have to move, ZeRO stage and offload come in one."""
    run = (f"planner.model={make_checkpoint(tmp_path / 'llama', LLAMA_8B)}", "planner.engine.tensor_parallel_size=4")
    run = (*run, "planner.pool.gpus_per_worker=4")
    advice = fit(gpu_run(*run), gpus(8, 15)).advice
    keys = [change.partition("=")[0] for change in advice.removeprefix("It fits with ").split()]
    assert {"learner.zero_stage", "learner.offload_parameters"} <= set(keys) and len(set(keys)) == len(keys)
    assert fit(gpu_run(*run, *advice.removeprefix("It fits with ").split()), gpus(8, 15)).lacking == ()


def test_a_cache_that_holds_no_sequence_is_refused_with_the_arithmetic(gpu_run: Run) -> None:
    found = fit(gpu_run("learner.offload_optimizer=true", "executor.engine.gpu_memory_utilization=0.2"), gpus(8, 24))
    assert found.lacking[0].startswith(
        "executor: executor.engine.gpu_memory_utilization=0.2 of 24.0 GiB is 4.80; weights"
    )
    assert found.advice.startswith("It fits with executor.engine.gpu_memory_utilization=0.")


def test_the_memory_of_a_node_counts_what_is_moved_there(gpu_run: Run) -> None:
    found = fit(gpu_run("learner.offload_optimizer=true"), gpus(8, 80, memory=24))
    assert found.lacking[0].startswith("the memory of n0: planner 0.70 + ") and "it has 24" in found.lacking[0]


def test_a_model_larger_than_any_machine_gets_no_advice(gpu_run: Run, tmp_path: Path) -> None:
    huge = make_checkpoint(tmp_path / "huge", Shape(200, 20000, 60000, 80, 8, 100000))
    assert fit(gpu_run(f"planner.model={huge}"), gpus(8, 24)).advice == NO_CHANGE


def test_logits_are_those_of_a_chunk_in_as_many_copies_as_the_loss_needs(gpu_run: Run) -> None:
    shape = read_shape(gpu_run().planner.model)
    logits = {
        name: rank_plan(gpu_run(*overrides), shape).passing.logits / (4 * shape.vocabulary * learner.CHUNK)
        for name, overrides in (
            ("whole", ()),
            ("bonus", ("algorithm.entropy_coef=0.01",)),
            ("cut", ("planner.sampling.top_k=50",)),
        )
    }
    assert logits == {"whole": 4, "bonus": 6, "cut": 9.25}


def test_a_change_is_named_with_all_digits_of_its_value(run_config: Run) -> None:
    config = run_config("learner.micro_batch_tokens=2097152", "dry_run=true")
    found = smallest_change(config, ["learner"], lambda tried: tried.learner.micro_batch_tokens <= 2**20)
    assert found == ("learner.micro_batch_tokens=1048576",)
