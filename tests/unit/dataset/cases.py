"""Worked problems: one that offers a place for every flaw, and files of many."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tracelift_ray.types import Problem

STATEMENT = (
    "A shop has 15 boxes of 12 pens. It sells 30 pens in the morning. The rest bring 4 shillings each. "
    "How many shillings does the rest bring?"
)
SOLUTION = (
    "There are 15*12 = <<15*12=180>>180 pens.\n"
    "After the sale 180-30 = <<180-30=150>>150 pens are left.\n"
    "They bring 150*4 = <<150*4=600>>600 shillings.\n#### 600"
)
LINES = (
    "There are 15*12 = 180 pens.",
    "After the sale 180-30 = 150 pens are left.",
    "They bring 150*4 = ? shillings.",
)
PROBLEM = Problem(id="p", task="math", statement=STATEMENT, task_type="math", answer="600", solution=SOLUTION)


def write_problems(path: Path, count: int) -> Path:
    """A file of GSM8K's form; every tenth problem has a solution that cannot be followed."""
    rng = random.Random(0)
    rows = []
    for number in range(count):
        boxes, pens, sold, price = rng.sample(range(5, 60), 4)
        total, left = boxes * pens, boxes * pens - sold
        question = (
            f"Shop {number} has {boxes} boxes of {pens} pens. {sold} are sold. What does the rest bring at ${price}?"
        )
        steps = (
            f"There are {boxes}*{pens} = <<{boxes}*{pens}={total}>>{total} pens.",
            f"Then {total}-{sold} = {left} are left.",
            f"They bring {left}*{price} = ${left * price}.",
        )
        worked = "\n".join(steps) if number % 10 else "It is so."
        rows.append({"question": question, "answer": f"{worked}\n#### {left * price}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
