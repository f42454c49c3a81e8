"""What of a model the learner trains: all weights, or low-rank adapters beside weights that stay."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.schema import LoraConfig
from tracelift_ray.planning.memory.shape import ModelShape


@dataclass(frozen=True)
class Trained:
    """The parameters that have gradients and an optimizer's state.

    Attributes:
        parameters: in all, and ``largest``: bytes' worth of elements of the largest gradient that comes in one piece.
        output: elements of the output layer's gradient; 0 where it stays.
        adapters: whether these are adapters; then ``inner`` elements of a token are kept in each layer on top.
    """

    parameters: int
    largest: int
    output: int
    adapters: bool = False
    inner: int = 0
    dropped: int = 0


def trained_part(lora: LoraConfig, shape: ModelShape) -> Trained:
    """What is trained of a model of ``shape``; its layers have the names of Llama's."""
    if not lora.rank:
        output = shape.vocabulary * shape.hidden
        # The gradient of a tied output layer comes from two places and is added up.
        return Trained(shape.parameters, max(shape.largest, 3 * output if shape.tied else 0), output)
    adapted = [sides for name, sides in _linear_layers(shape).items() if _is_target(name, lora.target_modules)]
    sizes = [lora.rank * (inputs + outputs) for inputs, outputs in adapted]
    return Trained(
        parameters=shape.layers * sum(sizes),
        largest=max(sizes, default=0),
        output=0,
        adapters=True,
        inner=lora.rank * len(adapted),
        dropped=sum(inputs for inputs, _ in adapted) if lora.dropout else 0,
    )


def _linear_layers(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the linear layers of one layer of the model."""
    hidden, inner = shape.hidden, shape.intermediate
    layers = {
        "q_proj": (hidden, shape.query),
        "k_proj": (hidden, shape.keys),
        "v_proj": (hidden, shape.keys),
        "o_proj": (shape.query, hidden),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    return layers | ({"gate_proj": (hidden, inner)} if shape.gated else {})


def _is_target(name: str, targets: tuple[str, ...]) -> bool:
    return not targets or any(target.rpartition(".")[2] == name for target in targets)
