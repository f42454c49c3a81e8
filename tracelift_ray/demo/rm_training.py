"""Trains the demo's reasoning RM: the ordinary architecture, six layers deep, on traces of the world drawn without end.

To check a written result a model must have worked it out before it reads it. The executor does that in its three
layers: reading ``7 + 5 =`` it expects 12. So the RM is the executor's three layers with three new ones above, which
compare what was expected with what stands there. The loss of the RM itself, at the last token, is that of every
reasoning RM. Two more terms are there only while it trains: the executor's layers go on to expect the next word, now
in the RM's own input, and a head that is thrown away says at each word whether a fault shows there (``faults.py``).
One RM serves both tasks.
"""

from __future__ import annotations

import copy
import functools
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracelift_ray.data.rubric_records import RubricRecord
from tracelift_ray.demo.faults import NUM_ASPECTS, fault_marks
from tracelift_ray.demo.flaws import habitual_lines, miswritten
from tracelift_ray.demo.source import flawed_traces, group_of
from tracelift_ray.demo.tokenizer import build_tokenizer
from tracelift_ray.demo.traces import clean_lines, is_valid, render
from tracelift_ray.demo.training import Recipe, minimize
from tracelift_ray.demo.world import DEMO_TASKS, WordProblem, draw_problem
from tracelift_ray.reasoning_rm.model.inputs import render_input
from tracelift_ray.reasoning_rm.model.prefixes import PrefixTree, TreeBatch, build_tree, collate_trees
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel
from tracelift_ray.reasoning_rm.training.data import dimension_names
from tracelift_ray.reasoning_rm.training.losses import RubricTargets, rubric_loss
from tracelift_ray.reasoning_rm.training.settings import LossSettings

NEW_LAYERS = 3
RECIPE = Recipe(steps=2200, rows_per_step=12, lr=1.5e-3, warmup_steps=50)
SEED = 2
NEGATIVES = 7
#: Beside its single flaws: how often a group has a trace as the untrained planner writes it, one with a wrong result in
#: any place (of a valid trace or of such a planner's), and one with a garbled word.
HABITUAL_RATE, MISWRITTEN_RATE, GARBLED_RATE = 0.5, 0.5, 0.2
LOSS = LossSettings(
    classification=1.0, regression=0.5, ranking=0.7, negative_ranking=0.0, negative_margin=0.15, prefix=0.0
)
MARK_WEIGHT, WORD_WEIGHT = 3.0, 0.5
#: Most marks are of no fault.
FAULT_WEIGHT = 3.0


@dataclass(frozen=True)
class MarkedTraces:
    """Some groups, ready for a step.

    Attributes:
        trees: one for each group, its traces with their common beginnings once.
        targets: what the traces should score, in the order of ``trees.ends``.
        places: (M, 3): tree, token and aspect of each mark.
        faulty: (M,), 1 where the mark is of a fault.
        words: (W, 3): tree, token and the id of the word that a faultless trace has behind it.
    """

    trees: TreeBatch
    targets: RubricTargets
    places: Tensor
    faulty: Tensor
    words: Tensor


def deepened(executor: Path) -> ReasoningRewardModel:
    """A reward model of the executor's layers with new ones above them, which at first change nothing."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(executor)
    config.num_hidden_layers += NEW_LAYERS
    own: Any = AutoModel.from_pretrained(executor, dtype=torch.float32)
    backbone: Any = AutoModel.from_config(config)
    backbone.load_state_dict(own.state_dict(), strict=False)
    for layer in backbone.layers[-NEW_LAYERS:]:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    with tempfile.TemporaryDirectory() as directory:
        backbone.save_pretrained(directory)
        return ReasoningRewardModel.from_backbone(directory, dimension_names=dimension_names(set(DEMO_TASKS)))


def draw_group(rng: Random) -> tuple[WordProblem, RubricRecord]:
    """A random training problem with its valid trace and flawed ones: single flaws, habit, miswritten, garbled."""
    problem = draw_problem(rng, rng.choice(DEMO_TASKS), "train")
    flawed = flawed_traces(problem, rng, NEGATIVES)
    others = []
    habitual = habitual_lines(problem, rng)
    if rng.random() < HABITUAL_RATE:
        others.append((render(problem.task, habitual), "habit"))
    if rng.random() < MISWRITTEN_RATE:
        lines = miswritten(habitual if rng.random() < 0.3 else clean_lines(problem), rng)
        if lines is not None:
            others.append((render(problem.task, lines), "miswritten"))
    if rng.random() < GARBLED_RATE:
        others.append((garbled(rng, rng.choice(flawed)[0]), "garbled"))
    flawed += [(text, kind) for text, kind in others if not is_valid(problem, text)]
    return problem, group_of(problem, flawed)


def garbled(rng: Random, reasoning: str) -> str:
    """The trace with one word changed, left out or written twice."""
    words = reasoning.split()
    place = rng.randrange(len(words))
    put = rng.choice(([], [words[place]] * 2, [rng.choice((*words, "+", "-", "*", "=", ";"))]))
    return " ".join([*words[:place], *put, *words[place + 1 :]])


def mark_groups(drawn: Sequence[tuple[WordProblem, RubricRecord]]) -> MarkedTraces:
    """Groups as tensors. A trace's words are its tokens, so words are counted and not characters."""
    tokenizer = _tokenizer()
    trees: list[PrefixTree] = []
    labels, totals = [], []
    # Traces with a common beginning have its tokens in common, and its marks: they follow from the words up to them.
    marks: dict[tuple[int, int, int], float] = {}
    words: dict[tuple[int, int], int] = {}
    for row, (world, group) in enumerate(drawn):
        traces = (*group.positives, *group.negatives)
        inputs = [render_input(group.problem, trace.reasoning) for trace in traces]
        tree = build_tree(tokenizer([each.text for each in inputs])["input_ids"])
        trees.append(tree)
        head = len(tokenizer(inputs[0].text[: inputs[0].start])["input_ids"])
        for trace, end in zip(traces, tree.ends, strict=True):
            labels.append(trace.labels)
            totals.append(trace.total)
            path = tree.path(end)[head:]
            found = fault_marks(world, trace.reasoning)
            marks.update({(row, path[mark.word], mark.aspect): float(mark.faulty) for mark in found})
            faulty = {path[mark.word] for mark in found if mark.faulty}
            for token, following in itertools.pairwise(path) if found else ():
                if following not in faulty:
                    words.setdefault((row, token), tree.token_ids[following])
    targets = RubricTargets(torch.tensor(labels), torch.tensor(totals), tuple(len(tree.ends) for tree in trees))
    return MarkedTraces(
        collate_trees(trees, tokenizer.pad_token_id, "cpu"),
        targets,
        torch.tensor(list(marks)),
        torch.tensor(list(marks.values())),
        torch.tensor([(*place, word) for place, word in words.items()]),
    )


_tokenizer = functools.cache(build_tokenizer)


class Lesson(nn.Module):
    """A reward model with what helps it to learn: ``model`` is what is kept. The layers below its ``NEW_LAYERS`` expect
    the next word."""

    def __init__(self, model: ReasoningRewardModel) -> None:
        super().__init__()
        self.model = model
        self.marks = nn.Linear(model.config.hidden_size, NUM_ASPECTS)
        self.norm = copy.deepcopy(model.model.norm)
        self._seen: dict[str, Tensor] = {}
        model.model.layers[-NEW_LAYERS - 1].register_forward_hook(self._keep("expecting"))
        model.model.norm.register_forward_hook(self._keep("checked"))

    def forward(self, batch: MarkedTraces) -> Tensor:
        """The loss of some groups."""
        trees, targets = batch.trees, batch.targets
        output = self.model(trees.input_ids, trees.attention_mask, position_ids=trees.position_ids, ends=trees.ends)
        rubric = rubric_loss(
            output, targets, LOSS, num_traces=len(targets.totals), num_groups=len(targets.sizes), num_pairs=0
        )
        return rubric.total + MARK_WEIGHT * self._mark_loss(batch) + WORD_WEIGHT * self._word_loss(batch)

    def _mark_loss(self, batch: MarkedTraces) -> Tensor:
        tree, token, aspect = batch.places.unbind(1)
        logits = self.marks(self._seen["checked"][tree, token])[torch.arange(len(aspect)), aspect]
        weight = torch.tensor(FAULT_WEIGHT)
        return functional.binary_cross_entropy_with_logits(logits, batch.faulty, pos_weight=weight)

    def _word_loss(self, batch: MarkedTraces) -> Tensor:
        tree, token, word = batch.words.unbind(1)
        expected = self.norm(self._seen["expecting"][tree, token])
        return functional.cross_entropy(expected @ self.model.get_input_embeddings().weight.T, word)

    def _keep(self, name: str) -> Callable[[Any, Any, Tensor], None]:
        def hook(module: Any, inputs: Any, output: Tensor) -> None:
            self._seen[name] = output

        return hook


def fit_rm(
    model: ReasoningRewardModel,
    draw: Callable[[], tuple[WordProblem, RubricRecord]],
    recipe: Recipe,
    log_every: int = 50,
) -> float:
    """Trains in place on groups drawn for every step; the mean loss of the last ``log_every`` steps."""
    lesson = Lesson(model)
    return minimize(
        lambda: lesson(mark_groups([draw() for _ in range(recipe.rows_per_step)])), lesson, recipe, log_every
    )


def train_reasoning_rm(executor: Path) -> ReasoningRewardModel:
    """The RM in bfloat16, which halves its size; its first layers start from the model in ``executor``."""
    torch.manual_seed(SEED)
    rng = Random(SEED)
    model = deepened(executor)
    fit_rm(model, lambda: draw_group(rng), RECIPE)
    nn.Module.to(model, torch.bfloat16)
    return model
