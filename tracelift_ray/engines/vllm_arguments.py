"""What vLLM is started with: its environment, the arguments of an engine, and the parameters of a request.

Importing this loads nothing of vLLM.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tracelift_ray.engines.vllm_extra import converted
from tracelift_ray.types import SamplingParams

if TYPE_CHECKING:
    from vllm import SamplingParams as VllmSamplingParams
    from vllm.lora.request import LoRARequest

    from tracelift_ray.config.models import EngineConfig
    from tracelift_ray.config.schema import LoraConfig

#: Tokens that one scheduler step may prefill, where the context does not ask for more.
STEP_TOKENS = 8192
#: Tokens of a block of an engine's cache on CPUs: the smallest that its kernels take.
CPU_BLOCK = 32
#: Bytes of freed memory that an engine's processes keep for their next allocation.
KEPT = 4 * 2**30
#: Ranks for which vLLM can have room.
ADAPTER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def set_environment(config: EngineConfig) -> None:
    """Settings that vLLM reads from the environment when it is imported or starts its processes."""
    # At WARNING every start on a CPU prints a page about what this build leaves out.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.update(VLLM_NO_USAGE_STATS="1", VLLM_DO_NOT_TRACK="1", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
    os.environ["VLLM_ENGINE_READY_TIMEOUT_S"] = str(max(1, int(config.startup_s)))
    if config.enforce_eager:
        # vLLM compiles a function of its sampler all the same, with a C++ compiler and at the first request that asks
        # for log-probs, which on two cores takes that request eight seconds.
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
    # CPU build: one thread per core that the pool was given (Ray sets OMP_NUM_THREADS), not pinned to cores that
    # other actors share.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    # glibc gives large blocks back to the kernel, and every weight update would fault its memory in again.
    os.environ.setdefault("GLIBC_TUNABLES", f"glibc.malloc.trim_threshold={KEPT}:glibc.malloc.mmap_threshold={KEPT}")
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # whole GiB only; engine_arguments sizes the cache in bytes


def engine_arguments(
    config: EngineConfig,
    model: str,
    *,
    transfer: str | None,
    seed: int,
    sleeps: bool,
    adapter: LoraConfig | None = None,
) -> dict[str, Any]:
    """Arguments of vLLM's ``AsyncEngineArgs``; those of ``config.extra`` come last."""
    from vllm.platforms import current_platform

    arguments: dict[str, Any] = {
        "model": model,
        "dtype": config.dtype,
        "max_model_len": config.max_model_len,
        "tensor_parallel_size": config.tensor_parallel_size,
        "max_num_seqs": config.max_num_seqs,
        "max_num_batched_tokens": max(config.max_model_len, STEP_TOKENS),
        "enforce_eager": config.enforce_eager,
        "enable_prefix_caching": config.prefix_caching,
        "gpu_memory_utilization": config.gpu_memory_utilization,
        # log-probs of the distribution that was sampled from: after temperature, top-k and top-p
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": seed,
    }
    if config.tensor_parallel_size > 1:
        # Workers are processes of this engine. Inside a Ray actor vLLM would choose to make actors of them, for which
        # a pool's bundle has no room.
        arguments["distributed_executor_backend"] = "mp"
    if current_platform.is_cpu():
        arguments["kv_cache_memory_bytes"] = int(config.kv_cache_gib * 2**30)
        # Only whole blocks are shared by the samples of a prompt, and 128 tokens, the build's own choice, are more than
        # most prompts have.
        arguments["block_size"] = CPU_BLOCK
        # With chunked prefill a large batch of seeded requests kills the CPU engine core.
        arguments["enable_chunked_prefill"] = False
        if config.tensor_parallel_size == 1:
            # A separate worker process spins while it waits for the engine core, which takes a core from others.
            from vllm.v1.executor.uniproc_executor import UniProcExecutor

            arguments["distributed_executor_backend"] = UniProcExecutor
    elif sleeps:  # the CPU build takes calls to sleep, and only pauses
        arguments["enable_sleep_mode"] = True
    if transfer is not None:
        from vllm.config.weight_transfer import WeightTransferConfig

        from tracelift_ray.transfer.vllm_receivers import WeightUpdates, backend

        arguments["weight_transfer_config"] = WeightTransferConfig(backend=backend(transfer))
        arguments["worker_extension_cls"] = f"{WeightUpdates.__module__}.{WeightUpdates.__qualname__}"
    if adapter is not None:
        if current_platform.is_cpu() and _has_experts(model):
            raise ValueError(
                f"vLLM's CPU build serves no adapters for a model with experts, which {model} is: use "
                "learner.lora.transfer=merged"
            )
        rank = next(each for each in ADAPTER_RANKS if each >= adapter.rank)
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
    return arguments | converted(config.extra)


def _has_experts(model: str) -> bool:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, local_files_only=True).get_text_config()
    return any(getattr(config, key, 0) for key in ("num_experts", "num_local_experts", "n_routed_experts"))


def adapter_request() -> LoRARequest:
    """What a request that is served with the adapter carries. It is loaded in the workers, never from its path."""
    from vllm.lora.request import LoRARequest

    from tracelift_ray.transfer.vllm_adapters import ADAPTER_ID

    return LoRARequest("policy", ADAPTER_ID, "/nowhere")


def to_vllm(params: SamplingParams, stop_token_ids: tuple[int, ...]) -> VllmSamplingParams:
    """vLLM's form of our sampling parameters. All samples of a request come back together."""
    from vllm import SamplingParams as VllmSamplingParams
    from vllm.sampling_params import RequestOutputKind

    return VllmSamplingParams(
        n=params.n,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        max_tokens=params.max_new_tokens,
        seed=params.seed,
        stop=list(params.stop),
        stop_token_ids=list(stop_token_ids),
        include_stop_str_in_output=True,
        logprobs=0 if params.logprobs else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
