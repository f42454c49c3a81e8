"""What peers publish for what the bench measures, by the names of its figures.

None of it ran on this machine or on these models: it tells the size of a thing, not who is faster.
"""

from __future__ import annotations

NOTHING = "nothing published was found"

SANDBOX = "ScaleBox: up to 2.63 times SandboxFusion's rate (arXiv 2604.27467)"

#: By a figure's name, or its beginning up to a comma; the demo's or the model's name before it does not count.
PEERS = (
    (
        "weight broadcast",
        "3.47 s for GLM-4.5-Air in bf16 on 8 H800 (checkpoint-engine, README.md, Benchmark)",
    ),
    (
        "learner tokens/s",
        "1,562 tokens/s and GPU over a whole step, Llama 3.1 8B on 16 H100 "
        "(NeMo-RL 0.4, docs/about/performance-summary.md)",
    ),
    (
        "rollout tokens/s",
        "2,161 tokens/s and GPU where a step's training hides behind it, Llama 3.1 8B on 16 H100 "
        "(NeMo-RL 0.4, docs/about/performance-summary.md)",
    ),
    (
        "synchronous / asynchronous step",
        "1.93 to 2.68 on 32 to 128 H20s, Qwen2.5-Math-7B, the synchronous run colocated "
        "(verl, docs/advance/fully_async.md)",
    ),
    ("sandbox, stdin tests/s / a process each", SANDBOX),
    ("sandbox, function tests/s / a process each", SANDBOX),
)


def published(name: str) -> str:
    """What the best peer publishes for the same thing as the figure called ``name``, or that nothing was found."""
    names = [f"{name},", f"{name.partition(', ')[2]},"]
    return next((text for start, text in PEERS if any(each.startswith(f"{start},") for each in names)), NOTHING)
