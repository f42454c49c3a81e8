"""What learners are put through: batches, settings, and the cases of one rank and of two."""

import random
from functools import partial
from pathlib import Path

from tests.integration.learner_ranks import Case
from tests.learner_configs import ALGORITHM, algorithm, learner, lora
from tracelift_ray.types import TrainBatch, TrainSample

TEMPERATURE = 0.8
KL = algorithm(kl_coef=0.3, updates_per_batch=2, normalisation="sequence")
KL_ONCE = algorithm(kl_coef=0.3)
LORA = lora()
GSPO = algorithm(loss="gspo", updates_per_batch=2, normalisation="sequence", correction="geometric_truncated")
#: The engine's log-probs as the old ones, a bonus for entropy, a cut distribution.
CISPO = algorithm(loss="cispo", updates_per_batch=2, correction="bypass", entropy_coef=0.1, clip_high=0.5)


def make_batch(seed: int, size: int) -> TrainBatch:
    """Random samples; the counts include one trace of 5 tokens that carries no gradient."""
    rng = random.Random(seed)
    samples = []
    for _ in range(size):
        prompt = tuple(rng.randrange(3, 250) for _ in range(rng.randint(2, 12)))
        completion = tuple(rng.randrange(3, 250) for _ in range(rng.randint(1, 20)))
        behaviour = tuple(rng.uniform(-7.0, -4.0) for _ in completion)
        samples.append(TrainSample(prompt, completion, behaviour, rng.gauss(0.0, 1.0)))
    return TrainBatch(tuple(samples), size + 1, sum(len(s.completion_ids) for s in samples) + 5)


def make_long_batch() -> TrainBatch:
    """Micro-batches of more completion tokens than one chunk of the output layer, and not equally many on two ranks."""
    rng = random.Random(5)
    samples = [
        TrainSample((3, 4), tuple(rng.randrange(3, 250) for _ in range(440)), (-5.0,) * 440, rng.gauss(0.0, 1.0))
        for _ in range(5)
    ]
    return TrainBatch(tuple(samples), 5, 5 * 440)


EXTRA = ("scored", "top_p", "load_from", "save_to", "save_planner_to", "send", "file_limit", "abandon_after")
BATCHES = (make_batch(1, 7), make_batch(2, 5))
SINGLE = (make_batch(3, 1),)
LONG = (make_long_batch(),) * 2


def make_case(model: str, name: str, batches=BATCHES, algorithm=ALGORITHM, **changes) -> Case:
    """A case of the test settings; ``changes`` are fields of the case (``EXTRA``) or of the learner."""
    extra = {key: changes.pop(key) for key in EXTRA if key in changes}
    return Case(name, learner(**changes), algorithm, model, batches, TEMPERATURE, **extra)


def on_one_rank(folder: Path, model: str, wide: str) -> list[Case]:
    """Cases of a single rank; ``wide`` is a model whose embedding and output layer are large."""
    case = partial(make_case, model)
    return [
        make_case(wide, "long", LONG),
        make_case(wide, "long, small", LONG, micro_batch_tokens=450),
        case("zero 0"),
        case("zero 0, small", micro_batch_tokens=40),
        case("zero 0, recomputed", gradient_checkpointing=True),
        case("zero 0, packed", layout="packed"),
        case("zero 3, packed, small", layout="packed", zero_stage=3, micro_batch_tokens=60),
        case("zero 2, small", zero_stage=2, micro_batch_tokens=40),
        case("zero 3, small", zero_stage=3, micro_batch_tokens=40, save_planner_to=str(folder / "planner-1")),
        case("sequence", algorithm=algorithm(normalisation="sequence")),
        case("constant", algorithm=algorithm(normalisation="constant"), micro_batch_tokens=40),
        case("unclipped", grad_clip=0.0),
        case("zero 1, optimizer offloaded", zero_stage=1, offload_optimizer=True),
        make_case(wide, "long, offloaded", LONG, zero_stage=3, offload_optimizer=True, offload_parameters=True),
        case("kl", algorithm=KL),
        make_case(wide, "long, kl", LONG, algorithm=KL),
        case("gspo", algorithm=GSPO),
        case("gspo, packed, small", algorithm=GSPO, layout="packed", micro_batch_tokens=60),
        case("cispo", algorithm=CISPO, top_p=0.9),
        case("cispo, packed, small", algorithm=CISPO, top_p=0.9, layout="packed", micro_batch_tokens=60),
        make_case(wide, "long, cispo", LONG, algorithm=CISPO),
        case("single", SINGLE),
        case("gspo, single", SINGLE, algorithm=GSPO),
        case("empty", (TrainBatch((), 4, 60), *BATCHES)),
        case("bfloat16", dtype="bfloat16", zero_stage=2),
        case("bfloat16, small", dtype="bfloat16", zero_stage=2, micro_batch_tokens=40),
        case("bfloat16, zero 0", dtype="bfloat16", zero_stage=0, micro_batch_tokens=40),
        case("bfloat16, zero 3", dtype="bfloat16", zero_stage=3, micro_batch_tokens=40),
        case("first half", BATCHES[:1], zero_stage=1, save_to=str(folder / "state-1")),
        case("second half", BATCHES[1:], zero_stage=1, load_from=str(folder / "state-1")),
        case("other stage", BATCHES[1:], zero_stage=2, load_from=str(folder / "state-1")),
        case("no room for state", SINGLE, save_to=str(folder / "no-state"), file_limit=50_000),
        case("no room for planner", SINGLE, save_planner_to=str(folder / "no-planner"), file_limit=50_000),
        case("no state", BATCHES[1:], load_from=str(folder / "nothing")),
        case("lora", lora=LORA, save_planner_to=str(folder / "adapter")),
        case("lora, zero 2, small", lora=LORA, zero_stage=2, micro_batch_tokens=40),
        case("lora, zero 3", lora=LORA, zero_stage=3),
        case("lora, kl", lora=LORA, algorithm=KL),
        case("lora, kl, one step", BATCHES[:1], lora=LORA, algorithm=KL_ONCE, save_to=str(folder / "state-kl")),
        case("lora, kl, second step", BATCHES[1:], lora=LORA, algorithm=KL_ONCE, load_from=str(folder / "state-kl")),
        case("dora, zero 3", lora=lora(dora=True), zero_stage=3),
        case("dora", lora=lora(dora=True)),
        case("lora, first half", BATCHES[:1], lora=LORA, zero_stage=1, save_to=str(folder / "state-lora")),
        case("lora, second half", BATCHES[1:], lora=LORA, zero_stage=1, load_from=str(folder / "state-lora")),
        case("other lora", BATCHES[1:], lora=lora(rank=8), zero_stage=1, load_from=str(folder / "state-lora")),
        make_case(wide, "other base", BATCHES[1:], lora=LORA, zero_stage=1, load_from=str(folder / "state-lora")),
        case("lora without layers", lora=lora(target_modules=("c_attn",))),
    ]


def on_two_ranks(folder: Path, model: str, wide: str) -> list[Case]:
    """Cases of two ranks, some of which go on from states that those of one rank left in ``folder``."""
    case = partial(make_case, model)
    return [
        make_case(wide, "long, zero 3", LONG, zero_stage=3, algorithm=KL),
        make_case(
            wide,
            "long, zero 3, offloaded",
            LONG,
            zero_stage=3,
            offload_optimizer=True,
            offload_parameters=True,
            save_to=str(folder / "state-offloaded"),
            save_planner_to=str(folder / "planner-offloaded"),
        ),
        make_case(wide, "long, zero 3, packed", LONG, zero_stage=3, layout="packed", gradient_checkpointing=True),
        case("zero 0"),
        case("zero 1, small", zero_stage=1, micro_batch_tokens=40),
        case("zero 2, packed, small", zero_stage=2, micro_batch_tokens=60, layout="packed"),
        case("zero 3", zero_stage=3, save_planner_to=str(folder / "planner-2"), send=True, scored=BATCHES[0].samples),
        case("kl, zero 3", algorithm=KL, zero_stage=3, gradient_checkpointing=True),
        case("gspo, zero 2, small", algorithm=GSPO, zero_stage=2, micro_batch_tokens=40),
        case("cispo, zero 3, small", algorithm=CISPO, top_p=0.9, zero_stage=3, micro_batch_tokens=40),
        make_case(wide, "long, cispo, zero 3", LONG, algorithm=CISPO, zero_stage=3),
        case("gspo, single", SINGLE, algorithm=GSPO),
        case("single, zero 3", SINGLE, zero_stage=3),
        # The second half is begun here, abandoned, and made in the next case.
        case("first half", zero_stage=3, micro_batch_tokens=40, abandon_after=1, save_to=str(folder / "state-2")),
        case("second half", BATCHES[1:], zero_stage=3, load_from=str(folder / "state-2")),
        case("divided rows", sequence_parallel=2),
        case("divided rows, gspo, small", algorithm=GSPO, sequence_parallel=2, micro_batch_tokens=40),
        case(
            "divided rows, cispo, zero 3",
            algorithm=CISPO,
            top_p=0.9,
            zero_stage=3,
            sequence_parallel=2,
            scored=BATCHES[0].samples,
        ),
        case(
            "divided rows, lora, kl",
            lora=LORA,
            algorithm=KL,
            zero_stage=2,
            sequence_parallel=2,
            gradient_checkpointing=True,
        ),
        make_case(wide, "divided rows, long, kl", LONG, algorithm=KL, zero_stage=3, sequence_parallel=2),
        case("other ranks", BATCHES[1:], zero_stage=1, load_from=str(folder / "state-1")),
        case("lora, kl, zero 3, small", lora=LORA, algorithm=KL, zero_stage=3, micro_batch_tokens=40),
        case("dropout, zero 3", lora=lora(dropout=0.5), zero_stage=3, scored=BATCHES[0].samples),
        case("adapter, zero 3", lora=lora(transfer="adapter"), zero_stage=3, send=True),
    ]
