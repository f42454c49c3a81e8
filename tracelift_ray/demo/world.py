"""The demo world's problems: short chains of arithmetic told as a story (math) or as a program to write (code).

A problem is a start value and one to four steps; its statement says each step in one phrase. The statement alone
determines the problem: ``read_statement`` gives back exactly what ``draw_problem`` made. Every fifth phrase or so is
*hard*: its wording invites a misreading. Statements are split into train and held-out by a hash of their text.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["train", "heldout"]
#: ``-n`` is subtraction from the operand (``operand - value``); the others work on the value (``value op operand``).
Operation = Literal["+", "-", "*", "/", "-n"]

LARGEST_VALUE = 40
HARD_PHRASE_RATE = 0.25
HELDOUT_ONE_IN = 10
NAMES = ("tom", "ann", "ben", "eva", "sam", "mia", "leo", "zoe")
ITEMS = ("pens", "coins", "cards", "nuts", "shells", "books")


@dataclass(frozen=True)
class Phrase:
    """One way to say a step. ``words`` hold ``#`` for the operand and ``@`` for another person's name.

    ``operands`` are the values that the operand may take, ends included. Phrases without ``#`` have one operand.
    """

    operation: Operation
    words: str
    operands: tuple[int, int]
    hard: bool = False


@dataclass(frozen=True)
class TaskWorld:
    """How the world tells one task's problems, and how their traces are written.

    Attributes:
        task_type: of its problems.
        answers: the artifact is the last value, which a trace withholds; otherwise it is the program.
        step_counts, start_range: what problems are drawn from.
        bare_steps: numbers of steps that the executor learns to do without a trace.
        word_places: which words of a trace's line show that its step is in the problem, that it begins with the value
            before it, and that its result is right (``faults``).
    """

    task_type: str
    answers: bool
    step_counts: tuple[int, ...]
    bare_steps: tuple[int, ...]
    start_range: tuple[int, int]
    word_places: tuple[int, int, int]
    phrases: tuple[Phrase, ...]


TASK_WORLDS: dict[str, TaskWorld] = {
    "math": TaskWorld(
        task_type="arithmetic",
        answers=True,
        step_counts=(1, 2, 2, 3, 3, 4),
        bare_steps=(1, 1, 2, 2, 3, 4),
        start_range=(2, 15),
        word_places=(2, 0, 4),
        phrases=(
            Phrase("+", "then buys # more", (1, 9)),
            Phrase("+", "then finds #", (1, 9)),
            Phrase("-", "then loses #", (1, 9)),
            Phrase("-", "then sells #", (1, 9)),
            Phrase("*", "then doubles that", (2, 2)),
            Phrase("*", "then triples that", (3, 3)),
            Phrase("/", "then keeps half", (2, 2), hard=True),
            Phrase("+", "then @ gives # back", (1, 9), hard=True),
            Phrase("-", "then gives @ # back", (1, 9), hard=True),
        ),
    ),
    "code": TaskWorld(
        task_type="program",
        answers=False,
        step_counts=(2, 3, 3, 4),
        bare_steps=(1, 1, 1, 2),  # only the shortest programs, so that traces matter
        start_range=(2, 9),
        word_places=(2, 4, 6),
        phrases=(
            Phrase("+", "then add #", (1, 9)),
            Phrase("+", "then raise it by #", (1, 9)),
            Phrase("-", "then subtract #", (1, 9)),
            Phrase("-", "then lower it by #", (1, 9)),
            Phrase("*", "then multiply it by #", (2, 4)),
            Phrase("*", "then double it", (2, 2)),
            Phrase("*", "then triple it", (3, 3)),
            Phrase("-", "then take # off", (1, 9), hard=True),
            Phrase("+", "then put # on", (1, 9), hard=True),
            Phrase("-n", "then subtract it from #", (10, 40), hard=True),
        ),
    ),
}
#: The tasks that the world tells problems for.
DEMO_TASKS = tuple(TASK_WORLDS)


@dataclass(frozen=True)
class Step:
    """One step: the operation and its operand, the value before and after it, and whether its phrase is hard."""

    operation: Operation
    operand: int
    before: int
    after: int
    hard: bool


@dataclass(frozen=True)
class WordProblem:
    """A problem of the world. For code, ``start`` is the worked example that the statement asks to try."""

    task: str
    statement: str
    start: int
    steps: tuple[Step, ...]

    @property
    def result(self) -> int:
        return self.steps[-1].after

    def run(self, value: int) -> int:
        """What the steps make of another start value (any integer; divisions round down)."""
        for step in self.steps:
            outcome = apply(step.operation, value, step.operand)
            value = value // step.operand if outcome is None else outcome
        return value


def apply(operation: Operation, value: int, operand: int) -> int | None:
    """The exact result of one operation, or None where a division leaves a remainder or divides by zero."""
    if operation == "/":
        return value // operand if operand and value % operand == 0 else None
    return {"+": value + operand, "-": value - operand, "*": value * operand, "-n": operand - value}[operation]


def split_of(statement: str) -> Split:
    """Which split a statement belongs to, by a stable hash of its text."""
    return "heldout" if zlib.crc32(statement.encode()) % HELDOUT_ONE_IN == 0 else "train"


def draw_problem(rng: Random, task: str, split: Split, steps: int | None = None) -> WordProblem:
    """A random problem of a split; ``steps`` fixes the number of steps."""
    while True:
        problem = _draw(rng, task, steps or rng.choice(TASK_WORLDS[task].step_counts))
        if problem is not None and split_of(problem.statement) == split:
            return problem


def _draw(rng: Random, task: str, count: int) -> WordProblem | None:
    """One attempt; None where a value leaves 0..LARGEST_VALUE."""
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    start = value = rng.randint(*TASK_WORLDS[task].start_range)
    steps: list[Step] = []
    sentences: list[str] = []
    for _ in range(count):
        hard = rng.random() < HARD_PHRASE_RATE
        phrase = rng.choice([p for p in TASK_WORLDS[task].phrases if p.hard == hard])
        operand = rng.randint(*phrase.operands)
        after = apply(phrase.operation, value, operand)
        if after is None or not 0 <= after <= LARGEST_VALUE:
            return None
        other = rng.choice([n for n in NAMES if n != name])
        sentences.append(phrase.words.replace("#", str(operand)).replace("@", other))
        steps.append(Step(phrase.operation, operand, value, after, hard))
        value = after
    opening, closing = _frame(task, name, item, start)
    return WordProblem(task, " . ".join([opening, *sentences, closing]), start, tuple(steps))


def _frame(task: str, name: str, item: str, start: int) -> tuple[str, str]:
    """The first and the last sentence of a statement."""
    if TASK_WORLDS[task].answers:
        return f"{name} has {start} {item}", f"how many {item} now ?"
    return f"read n , try {start}", "print it ."


def read_statement(task: str, statement: str) -> WordProblem:
    """The problem that a statement tells.

    Raises:
        ValueError: the statement is not one of this world; the message quotes the sentence that was not understood.
    """
    opening, *sentences, _ = statement.split(" . ") if " . " in statement else (statement, "")
    numbers = [int(word) for word in opening.split() if word.isdecimal()]
    if len(numbers) != 1 or not sentences:
        raise ValueError(f"not a statement of the demo world ({task}): {statement!r}")
    value = start = numbers[0]
    steps: list[Step] = []
    for sentence in sentences:
        phrase, operand = _read_sentence(task, sentence)
        after = apply(phrase.operation, value, operand)
        if after is None:
            raise ValueError(f"{sentence!r} has no whole result for {value} in demo statement {statement!r}")
        steps.append(Step(phrase.operation, operand, value, after, phrase.hard))
        value = after
    return WordProblem(task, statement, start, tuple(steps))


def _read_sentence(task: str, sentence: str) -> tuple[Phrase, int]:
    """The phrase that a sentence instantiates, and its operand."""
    words = sentence.split()
    for phrase in TASK_WORLDS[task].phrases:
        pattern = phrase.words.split()
        if len(pattern) != len(words):
            continue
        pairs = list(zip(pattern, words, strict=True))
        if all(p == w or (p == "#" and w.isdecimal()) or (p == "@" and w in NAMES) for p, w in pairs):
            operand = next((int(w) for p, w in pairs if p == "#"), phrase.operands[0])
            return phrase, operand
    raise ValueError(f"not a phrase of the demo world ({task}): {sentence!r}")


def words_of_the_world() -> tuple[str, ...]:
    """Every word that a statement can hold, numbers aside, sorted."""
    words = {*NAMES, *ITEMS}
    for task in DEMO_TASKS:
        words.update(" . ".join(_frame(task, NAMES[0], ITEMS[0], 0)).split())
        for phrase in TASK_WORLDS[task].phrases:
            words.update(phrase.words.split())
    return tuple(sorted(word for word in words if word not in "#@" and not word.isdecimal()))
