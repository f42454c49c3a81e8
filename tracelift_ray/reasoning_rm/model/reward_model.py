"""The reasoning reward model: five rubric heads and a total head on any Hugging Face decoder backbone.

A reward model is an ordinary Hugging Face directory. Its configuration is the backbone's with the keys
``rm_dimension_names``, ``rm_dimension_weights``, ``rm_num_labels``, ``rm_use_total_head`` and ``classifier_dropout``
added; its architecture is named ``<Backbone>ForReasonRewardModel`` (``Qwen2ForReasonRewardModel``); its weights are
``model.*``, ``dimension_heads.{0..4}.{weight,bias}`` and ``total_head.{weight,bias}``. The promise: a sequence's score
depends on that sequence alone and not on its batch, since padding is on the right of a causal model.

One optional key, ``rm_input: trace``, marks a model that is not shown the problem, which is a baseline to measure
others against.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.table import TASKS
from tracelift_ray.types import DERIVED_WEIGHT, REWARD_MODEL_ENDING

NUM_DIMENSIONS = 5
TRACE_ONLY = "trace"  # the value of rm_input
_KNOWN_DIMENSIONS = {name for task in TASKS.values() for name in task.dimensions}
_WEIGHT_TOLERANCE = 1e-4


class RewardModelError(DataError):
    """A directory that is no usable reward model or backbone: what is wrong, where, what to do, in one line."""


class RubricOutput(NamedTuple):
    """What the heads say of B sequences, all in float32. A tuple of tensors, which DeepSpeed's hooks can look into.

    Attributes:
        label_logits: (B, 5, num_labels).
        total: (B,) in [0, 1], the sigmoid of the total head; equal to ``derived`` for a model without that head.
        derived: (B,) in [0, 1], sum_d w_d E[label_d] / (num_labels - 1).
        score: (B,) in [0, 1], q = 0.5 derived + 0.5 total.
        good_logits: (B, T), of every token, that a good trace begins so; None without the head that training may add.
    """

    label_logits: Tensor
    total: Tensor
    derived: Tensor
    score: Tensor
    good_logits: Tensor | None = None

    @property
    def expected_labels(self) -> Tensor:
        """(B, 5), E[label] of each dimension in [0, num_labels - 1]."""
        return expected_labels(self.label_logits)


def expected_labels(label_logits: Tensor) -> Tensor:
    """The mean label under softmax(logits): (..., num_labels) -> (...), in [0, num_labels - 1]."""
    values = torch.arange(label_logits.shape[-1], device=label_logits.device, dtype=torch.float32)
    return (label_logits.float().softmax(-1) * values).sum(-1)


def _linear(head: Any, hidden: Tensor) -> Tensor:
    """A linear head applied in float32."""
    return nn.functional.linear(hidden, head.weight.float(), head.bias.float())


class ReasoningRewardModel(PreTrainedModel):
    """Rubric and total heads over the hidden state of each sequence's last token.

    This class holds what all backbones share. Instances are of a subclass made for the backbone, which takes
    initialisation, attention and device placement from the backbone's own ``PreTrainedModel``; build them with
    ``from_backbone`` and ``from_pretrained``.
    """

    base_model_prefix = "model"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        hidden = config.get_text_config().hidden_size
        self.model = AutoModel.from_config(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.dimension_heads = nn.ModuleList(nn.Linear(hidden, config.rm_num_labels) for _ in config.rm_dimension_names)
        self.total_head = nn.Linear(hidden, 1) if config.rm_use_total_head else None
        self.good_head: nn.Linear | None = None
        self.post_init()

    def add_good_head(self) -> None:
        """Adds a head for training alone, which says at every token whether a good trace begins so."""
        self.good_head = nn.Linear(self.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.good_head.weight)
        nn.init.zeros_(self.good_head.bias)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor | None = None,
        ends: Tensor | None = None,
    ) -> RubricOutput:
        """Scores right-padded sequences, or the sequences of prefix trees (see ``prefixes.py``).

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), where every row has at least one token and its padding on the right; of trees
                (B, 1, T, T).
            position_ids: (B, T), of trees.
            ends: (rows, 2), of trees: row and column of each sequence's last token; else each row is a sequence.
        """
        hidden = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        if ends is None:
            last = attention_mask.sum(1).long() - 1
            ends = torch.stack([torch.arange(len(last), device=last.device), last], dim=1)
        output = self._read_heads(self.dropout(hidden[ends[:, 0], ends[:, 1]]))
        if self.good_head is None:
            return output
        return output._replace(good_logits=_linear(self.good_head, hidden.float()).squeeze(-1))

    def _read_heads(self, pooled: Tensor) -> RubricOutput:
        """(B, hidden) -> the heads' output."""
        # In float32, also over a bfloat16 backbone: q is compared across traces, and bfloat16 steps by 0.004.
        with torch.autocast(pooled.device.type, enabled=False):
            pooled = pooled.float()
            logits = torch.stack([_linear(head, pooled) for head in self.dimension_heads], dim=1)
            weights = torch.tensor(self.config.rm_dimension_weights, device=logits.device, dtype=torch.float32)
            derived = (expected_labels(logits) * weights).sum(-1) / (logits.shape[-1] - 1)
            total = derived if self.total_head is None else torch.sigmoid(_linear(self.total_head, pooled).squeeze(-1))
        return RubricOutput(logits, total, derived, DERIVED_WEIGHT * derived + (1 - DERIVED_WEIGHT) * total)

    @classmethod
    def from_backbone(
        cls,
        path: str | Path,
        *,
        dimension_names: Sequence[str],
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
        show_problem: bool = True,
    ) -> ReasoningRewardModel:
        """A reward model with new heads over the pretrained weights in ``path``; at first all scores are the same.

        Args:
            path: a Hugging Face directory of a decoder, with or without its language-model head.
            dimension_names: the five dimensions, in the order of the heads.
            show_problem: False for a model that reads the trace alone.

        Raises:
            RewardModelError: ``path`` holds no backbone.
        """
        config = _read_config(path)
        if not show_problem:
            config.rm_input = TRACE_ONLY
        config.rm_dimension_names = list(dimension_names)
        config.rm_dimension_weights = [1 / NUM_DIMENSIONS] * NUM_DIMENSIONS
        config.rm_num_labels, config.rm_use_total_head = 5, True
        config.classifier_dropout = dropout
        _check_config(config, path)
        backbone = AutoModel.from_pretrained(str(path), dtype=dtype)
        model: Any = model_class(config)(config)
        model.to(dtype)
        model.model.load_state_dict(backbone.state_dict())
        for head in (*model.dimension_heads, model.total_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        return model

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, path: str | Path, *, dtype: torch.dtype | str = torch.float32, device: str | torch.device = "cpu"
    ) -> ReasoningRewardModel:
        """Loads a saved reward model, in evaluation mode. ``dtype`` may be ``auto``: as saved.

        Raises:
            RewardModelError: no such directory, no weights, not a reward model, or weights that do not fit.
        """
        config = _read_config(path)
        architecture = (getattr(config, "architectures", None) or ["none"])[0]
        if not architecture.endswith(REWARD_MODEL_ENDING):
            raise RewardModelError(
                f"{path} is a {architecture}, not a reasoning reward model (*{REWARD_MODEL_ENDING}); "
                "make one with python -m launch.train_rm"
            )
        _check_config(config, path)
        load: Any = super(ReasoningRewardModel, model_class(config)).from_pretrained
        options = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        try:
            model, info = load(str(path), config=config, dtype=dtype, **options)
        except SafetensorError as error:
            raise RewardModelError(f"{path} has weights that cannot be read ({error}); copy them again") from error
        wrong = [*sorted(info["missing_keys"]), *(str(key[0]) for key in info["mismatched_keys"])]
        if wrong:
            raise RewardModelError(
                f"{path}: the weights lack {', '.join(wrong[:3])}, or their shapes differ; save the model again"
            )
        return model.to(device).eval()


def model_class(config: Any) -> type[ReasoningRewardModel]:
    """The reward model's class for a backbone configuration: the shared heads over the backbone's own base class."""
    try:
        backbone: Any = MODEL_MAPPING[type(config)]
    except KeyError:
        raise RewardModelError(f"no Hugging Face backbone is known for model_type {config.model_type!r}") from None
    base = next(c for c in backbone.__mro__[1:] if issubclass(c, PreTrainedModel))
    name = backbone.__name__.removesuffix("Model") + REWARD_MODEL_ENDING
    return type(name, (ReasoningRewardModel, base), {"config_class": type(config), "base_model_prefix": "model"})


def shows_problem(config: Any) -> bool:
    """Whether the model reads the problem beside the trace, as all do that are not trace-only baselines."""
    shown = getattr(config, "rm_input", None)
    if shown not in (None, TRACE_ONLY):
        raise RewardModelError(f"rm_input is {shown!r}; this version knows {TRACE_ONLY!r}")
    return shown is None


def _read_config(path: str | Path) -> Any:
    """The configuration in ``path``, after checking that weights lie beside it."""
    directory = Path(path)
    if not directory.is_dir():
        raise RewardModelError(f"{directory} is not a directory; give a Hugging Face model directory")
    if not (directory / "config.json").is_file():
        raise RewardModelError(f"{directory} has no config.json; give a Hugging Face model directory")
    if not any(directory.glob("*.safetensors")) and not any(directory.glob("pytorch_model*.bin")):
        raise RewardModelError(f"{directory} has a config.json but no weights (*.safetensors); copy them there")
    try:
        return AutoConfig.from_pretrained(str(directory))
    except (ValueError, json.JSONDecodeError, OSError) as error:
        raise RewardModelError(f"{directory}/config.json cannot be read: {str(error).splitlines()[0]}") from error


def _check_config(config: Any, path: str | Path) -> None:
    """Checks the added keys: five known dimensions, a weight for each that sum to 1, and at least two labels."""
    keys = ("rm_dimension_names", "rm_dimension_weights", "rm_num_labels", "rm_use_total_head", "classifier_dropout")
    missing = [key for key in keys if not hasattr(config, key)]
    if missing:
        raise RewardModelError(f"{path}/config.json lacks {', '.join(missing)}; save the model with save_pretrained")
    names = config.rm_dimension_names
    if len(names) != NUM_DIMENSIONS or len(set(names)) != NUM_DIMENSIONS:
        raise RewardModelError(f"{path}/config.json: rm_dimension_names is {names}; it must be five names")
    unknown = [name for name in names if not set(name.split("|")) <= _KNOWN_DIMENSIONS]
    if unknown:
        raise RewardModelError(
            f"{path}/config.json: rm_dimension_names has {unknown[0]!r}; it must be one of "
            f"{', '.join(sorted(_KNOWN_DIMENSIONS))}, or two of them joined by |"
        )
    config.rm_dimension_weights = _dimension_weights(config.rm_dimension_weights, names, path)
    if config.rm_num_labels < 2:
        raise RewardModelError(f"{path}/config.json: rm_num_labels is {config.rm_num_labels}; at least 2 are needed")


def _dimension_weights(weights: Any, names: Sequence[str], path: str | Path) -> list[float]:
    """The weights in the order of ``names``, from a list or from an object by name."""
    listed: list[Any] = [weights.get(name) for name in names] if isinstance(weights, dict) else list(weights)
    extra = sorted(set(weights) - set(names)) if isinstance(weights, dict) else []
    numbers = all(isinstance(weight, (int, float)) and weight >= 0 for weight in listed)
    if extra or len(listed) != NUM_DIMENSIONS or not numbers or abs(sum(listed) - 1) > _WEIGHT_TOLERANCE:
        raise RewardModelError(
            f"{path}/config.json: rm_dimension_weights is {weights}; it must be a weight of at least 0 for each of "
            "the five dimensions, and they must sum to 1"
        )
    return listed
