"""A stand-in for reasoning-gym, for machines without it: its functions that are used, and three generators."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_INIT = """
import random
from .factory import DATASETS


def create_dataset(name, **settings):
    return DATASETS[name][0](**settings)


def get_score_answer_fn(name):
    return DATASETS[name][0]().score_answer
"""
_FACTORY = "from .sums import Ordered, Sums\\nfrom .formulas import Formulas\\n".replace("\\n", "\n") + (
    "DATASETS = {'sums': (Sums, None), 'ordered': (Ordered, None), 'formulas': (Formulas, None)}\n"
)
_SUMS = '''
import random


class Sums:
    def __init__(self, size=5, seed=0, largest=9):
        assert largest > 0, "largest must be positive"
        self.size, self.seed, self.largest = size, seed, largest

    def __getitem__(self, place):
        chance = random.Random(self.seed + place)
        a, b = chance.randint(0, self.largest), chance.randint(0, self.largest)
        return {"question": f"{a} + {b}?", "answer": str(a + b), "metadata": {"terms": [a, b]}}

    def score_answer(self, answer, entry):
        return 1.0 if answer.strip() == str(sum(entry["metadata"]["terms"])) else 0.01


class Ordered:
    """Any order of the letters but one is right; an answer that is named oddly breaks the scorer or keeps it busy."""

    def __init__(self, size=5, seed=0):
        self.size = size

    def __getitem__(self, n):
        answer = f"a {n}" if n == 3 else f"b\\na {n}"  # the fourth is refused by its own scorer
        return {"question": f"other than {n}?", "answer": answer, "metadata": {"refused": f"a {n}"}}

    def score_answer(self, answer, entry):
        while answer == "endless":
            pass
        if answer == "broken":
            raise KeyError(answer)
        return float(answer != entry["metadata"]["refused"])
'''
_FORMULAS = """
class Formulas:
    def __init__(self, size=5, seed=0):
        pass

    def score_answer(self, answer, entry):
        return float(eval(answer) == 3)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put it where this process, and those that it starts, import it from."""
    package = folder / "stand_in" / "reasoning_gym"
    package.mkdir(parents=True)
    files = {"__init__": _INIT, "factory": _FACTORY, "sums": _SUMS, "formulas": _FORMULAS}
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "reasoning_gym"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(package.parent)
