"""What only the GPU path calls of vLLM, DeepSpeed and torch is there in the pinned versions, with these parameters.

Read from their sources: a build for CPUs lacks some of it at run time (NCCL, say), and vLLM takes seconds to import.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

RELOAD = "vllm.model_executor.model_loader.reload"
#: Module, name in it, and the parameters that are given.
CALLED: list[tuple[str, str, tuple[str, ...]]] = [
    # Sleep and wake: the CPU build takes these calls and frees nothing.
    ("vllm.v1.engine.async_llm", "AsyncLLM.sleep", ("level", "mode")),
    ("vllm.v1.engine.async_llm", "AsyncLLM.wake_up", ("tags",)),
    ("vllm.v1.worker.gpu_worker", "Worker.sleep", ("level",)),
    ("vllm.v1.worker.gpu_worker", "Worker.wake_up", ("tags",)),
    ("vllm.device_allocator.cumem", "CuMemAllocator.sleep", ("offload_tags",)),
    ("vllm.device_allocator.cumem", "CuMemAllocator.wake_up", ("tags",)),
    # Weights: what our receivers are built on in a GPU worker.
    ("vllm.v1.worker.gpu_worker", "Worker.start_weight_update", ()),
    ("vllm.v1.worker.gpu_worker", "Worker.update_weights", ("update_info",)),
    ("vllm.v1.worker.gpu_worker", "Worker.finish_weight_update", ()),
    ("vllm.distributed.weight_transfer.base", "WeightTransferEngine.__init__", ("config", "device", "model")),
    (f"{RELOAD}.layerwise", "initialize_layerwise_reload", ("model",)),
    (f"{RELOAD}.layerwise", "finalize_layerwise_processing", ("model", "model_config")),
    # Collectives and CUDA IPC.
    ("torch._C._distributed_c10d", "ProcessGroupNCCL.__init__", ("store", "rank", "size", "options")),
    ("torch._C._distributed_c10d", "ProcessGroupNCCL.Options.__init__", ()),
    ("torch._C._distributed_c10d", "ProcessGroupNCCL.abort", ()),
    ("torch._C._distributed_c10d", "Work.is_completed", ()),
    ("torch.multiprocessing.reductions", "reduce_tensor", ("tensor",)),
    ("torch.multiprocessing.reductions", "rebuild_cuda_tensor", ("tensor_cls", "storage_device")),
    ("torch.cuda", "ipc_collect", ()),
    ("torch.cuda", "synchronize", ("device",)),
    ("torch.cuda", "get_device_properties", ("device",)),
    ("torch.cuda.memory", "empty_cache", ()),
    # DeepSpeed over NCCL.
    ("deepspeed", "initialize", ("model", "optimizer", "config", "dist_init_required")),
    ("deepspeed.comm.comm", "init_distributed", ("dist_backend", "verbose", "dist_init_required")),
    ("deepspeed.comm.comm", "destroy_process_group", ()),
    ("deepspeed.runtime.zero.partition_parameters", "GatheredParameters.__init__", ("params",)),
]
#: Fields and attributes.
HELD: list[tuple[str, str, tuple[str, ...]]] = [
    ("vllm.engine.arg_utils", "EngineArgs", ("enable_sleep_mode", "gpu_memory_utilization", "weight_transfer_config")),
    ("torch._C", "_CudaDeviceProperties", ("uuid",)),
    ("torch._C._distributed_c10d", "Backend.Options", ("_timeout",)),
    (
        "deepspeed.runtime.zero.config",
        "DeepSpeedZeroConfig",
        ("stage", "overlap_comm", "reduce_bucket_size", "allgather_bucket_size", "offload_optimizer", "offload_param"),
    ),
    ("deepspeed.runtime.zero.offload_config", "DeepSpeedZeroOffloadOptimizerConfig", ("device", "pin_memory")),
    ("deepspeed.runtime.zero.offload_config", "DeepSpeedZeroOffloadParamConfig", ("device", "pin_memory")),
]


@cache
def tree(module: str) -> ast.Module:
    """The source of a module, or the stubs of a compiled one."""
    package, *rest = module.split(".")
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations, f"{package} is not installed"
    path = Path(spec.submodule_search_locations[0]).joinpath(*rest)
    endings = ("__init__.py", "__init__.pyi")
    candidates = [path.with_name(f"{path.name}{end}") for end in (".py", ".pyi")] + [path / name for name in endings]
    return ast.parse(next(each for each in candidates if each.is_file()).read_text("utf-8"))


def found(module: str, name: str) -> ast.AST:
    """The class or function of a dotted name."""
    here: ast.AST = tree(module)
    for part in name.split("."):
        below = [each for each in ast.walk(here) if getattr(each, "name", None) == part]
        assert below, f"{module} has no {name}"
        here = below[0]
    return here


@pytest.mark.parametrize(("module", "name", "parameters"), CALLED, ids=[f"{m}.{n}" for m, n, _ in CALLED])
def test_what_the_gpu_path_calls_is_there(module: str, name: str, parameters: tuple[str, ...]) -> None:
    function = found(module, name)
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    taken = [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    assert set(parameters) <= set(taken), f"{name} takes {taken}"


@pytest.mark.parametrize(("module", "name", "fields"), HELD, ids=[f"{m}.{n}" for m, n, _ in HELD])
def test_what_the_gpu_path_sets_and_reads_is_there(module: str, name: str, fields: tuple[str, ...]) -> None:
    names = {
        target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
        for node in ast.walk(found(module, name))
        for target in ([node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", []))
    } | {node.name for node in ast.walk(found(module, name)) if isinstance(node, ast.FunctionDef)}
    assert set(fields) <= names


def test_the_place_of_the_gpu_in_an_ipc_handle_is_where_ours_is_put() -> None:
    from tracelift_ray.transfer.ipc import GpuMemory

    function = found("torch.multiprocessing.reductions", "rebuild_cuda_tensor")
    assert isinstance(function, ast.FunctionDef)
    assert function.args.args[GpuMemory.DEVICE].arg == "storage_device"


def test_vllm_sleeps_by_the_tags_and_in_the_mode_that_we_name() -> None:
    def text(module: str, name: str) -> str:
        values = [
            ast.unparse(node.value)
            for node in tree(module).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        ]
        return values[0] if values else ""

    tags = ast.literal_eval(
        text("vllm.v1.executor.abstract", "SLEEP_TAGS").removeprefix("frozenset(").removesuffix(")")
    )
    assert set(tags) == {"weights", "kv_cache"}
    assert "'keep'" in text("vllm.v1.engine", "PauseMode")
