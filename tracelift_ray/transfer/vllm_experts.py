"""Layers of experts in vLLM while weights are replaced layer by layer.

On CPUs vLLM multiplies by packed experts and packs them only when a model is loaded for the first time; some models
write their experts straight into parameters, past the loaders that a layerwise reload counts by. So experts on CPUs are
opened (their parameters are as before packing), written by the model in its own way, and packed again at the end. On
GPUs, where this would hold them twice, they go layer by layer like all others, and experts that took nothing are
refused.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from tracelift_ray.errors import InfrastructureError


def experts_of(model: nn.Module) -> dict[str, Any]:
    """The layers of experts, by name."""
    from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts

    return {name: layer for name, layer in model.named_modules() if isinstance(layer, RoutedExperts)}


def open_experts(model: nn.Module) -> None:
    """Make the parameters of experts writable in the form of a checkpoint; after ``initialize_layerwise_reload``."""
    from vllm.model_executor.model_loader.reload.layerwise import _get_original_loader, get_layerwise_info
    from vllm.model_executor.model_loader.reload.meta import materialize_layer
    from vllm.model_executor.model_loader.reload.utils import get_layer_tensors

    for layer in experts_of(model).values():
        materialize_layer(layer, get_layerwise_info(layer))
        for parameter in get_layer_tensors(layer).values():
            if hasattr(parameter, "weight_loader"):
                parameter.weight_loader = _get_original_loader(parameter)


def close_experts(model: nn.Module) -> None:
    """Pack what was written to opened experts, and put it where the engine reads it; before the reload is finished."""
    from vllm.model_executor.model_loader.reload.layerwise import _copy_and_restore_kernel_tensors, get_layerwise_info

    for layer in experts_of(model).values():
        info = get_layerwise_info(layer)
        layer.quant_method.moe_kernel = None  # only a first kernel packs
        layer.quant_method.process_weights_after_loading(layer)
        _copy_and_restore_kernel_tensors(layer, info)
        info.reset()


def check_experts(model: nn.Module) -> None:
    """Raise ``InfrastructureError`` for experts that a reload has passed over; before it is finished."""
    from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info

    for name, layer in experts_of(model).items():
        info = get_layerwise_info(layer)
        if info.can_load() and not info.load_numel:
            raise InfrastructureError("planner engine worker", f"{name} took no weights: vLLM cannot replace them")
