"""What the executor's samples of a trace can show, drawn at once, in two rounds, or until they decide its reward.

After a first round a rule of ``RULES`` says which traces of a group draw more. It sees the successes of the whole group
and of its baseline, so a trace goes on for some numbers of successes of its own and not for others, given those of the
other traces; which, is its *code*, a bit for each number. All that is exact here follows from the chances of the codes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracelift_ray.types import Artifact, Execution, Verdict

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
#: What a sample can show: all tests pass, half of them do, it does not run; and the shares of failing samples.
SHOWN = tuple(
    Execution(Artifact("", ""), Verdict(outcome, passed, 4))  # type: ignore[arg-type]
    for outcome, passed in (("passed", 4), ("wrong_answer", 2), ("does_not_compile", 0))
)
FAILING = (0.6, 0.4)


@dataclass(frozen=True)
class Draws:
    """All that some samples can show: by how many of each kind of ``SHOWN``, and in how many orders each can come."""

    shown: tuple[tuple[int, ...], ...]
    ways: Array

    def chances(self, p: Array) -> Array:
        """Chance of each of ``shown``: the shape of ``p`` and one more axis."""
        each = np.stack([p, (1 - p) * FAILING[0], (1 - p) * FAILING[1]], axis=-1)
        powers = each[..., None, :] ** np.array(self.shown)
        return self.ways * powers.prod(axis=-1)

    @property
    def passed(self) -> Ints:
        """Successes in each of ``shown``."""
        return np.array([counts[0] for counts in self.shown])


def multisets(size: int) -> list[tuple[int, ...]]:
    """Samples by what each shows, whatever their order."""
    return list(itertools.combinations_with_replacement(range(3), size))


def draws(size: int) -> Draws:
    """Of ``size`` samples."""
    shown = [tuple(map(drawn.count, range(3))) for drawn in multisets(size)]
    ways = [math.factorial(size) / math.prod(map(math.factorial, counts)) for counts in shown]
    return Draws(tuple(shown), np.array(ways))


# ---- two rounds

#: Which traces draw more: of the successes of a first round, (groups, traces), and those of the baselines, (groups,).
Rule = Callable[[Ints, Ints], NDArray[np.bool_]]


def _dead(successes: Ints, without: Ints) -> NDArray[np.bool_]:
    alive = (successes > 0).any(axis=1) | (without > 0)
    return np.broadcast_to(alive[:, None], successes.shape)


def _others_dead(successes: Ints, without: Ints) -> NDArray[np.bool_]:
    others = successes.sum(axis=1, keepdims=True) - successes
    return (others > 0) | (without > 0)[:, None]


def _open(successes: Ints, without: Ints) -> NDArray[np.bool_]:
    return (successes[:, :, None] == successes[:, None, :]).sum(axis=2) > 1


def _open_alive(successes: Ints, without: Ints) -> NDArray[np.bool_]:
    return _open(successes, without) & _dead(successes, without)


def _disagree(successes: Ints, without: Ints) -> NDArray[np.bool_]:
    """Of first rounds of two samples."""
    return successes == 1


#: By name: not where all failed and the baseline is 0; not where all the others did; where another trace has as many
#: successes, so that the order of the two is open; the same where the group is not dead; where two samples disagree.
RULES: Mapping[str, Rule] = {
    "dead": _dead,
    "others dead": _others_dead,
    "open": _open,
    "open, alive": _open_alive,
    "disagree": _disagree,
}


@dataclass(frozen=True)
class Rounds:
    """The rewards of a scheme of two rounds.

    Attributes:
        rule: of ``RULES``.
        size: samples of the first round.
        first, more: what the samples of each round can show.
        values: rewards of traces that end after the first: (scores, shown, successes of the baseline).
        joined: of what each round shows, the place in the table of all samples.
        paid: rewards of traces that go on: (codes, scores, shown of all samples, successes of the baseline).
    """

    rule: Rule
    size: int
    first: Draws
    more: Draws
    values: Array
    joined: Ints
    paid: Array

    def codes(self, successes: Ints, without: Ints) -> Ints:
        """The code of each trace of each group."""
        codes = np.zeros_like(successes)
        for own, trace in itertools.product(range(self.size + 1), range(successes.shape[1])):
            changed = successes.copy()
            changed[:, trace] = own
            codes[:, trace] += self.rule(changed, without)[:, trace].astype(int) << own
        return codes

    def code_chances(self, succeeds: Array, others: int) -> Array:
        """Chance of each code given the baseline's successes: (problems, successes of the baseline, codes).

        ``succeeds``: chances of 0, 1, … successes of another trace's first round, (problems, successes).
        """
        samples, found = self.values.shape[-1], np.zeros((len(succeeds), self.values.shape[-1], 1 << self.size + 1))
        for them in itertools.product(range(self.size + 1), repeat=others):
            chance = succeeds[:, them].prod(axis=1)
            for without in range(samples):
                code = self.codes(np.array([[0, *them]]), np.array([without]))[0, 0]
                found[:, without, code] += chance
        return found

    def goes_on(self, code: int) -> Array:
        """Of each that the first round can show, 1 where a trace of this code goes on."""
        return (code >> self.first.passed & 1).astype(float)


def rounds(rule: str, size: int, whole: Draws, values: Array, whole_values: Array, unbiased: bool) -> Rounds:
    """Of ``whole``, after a first round of ``size``; rewards by ``values`` and ``whole_values``, shaped alike.

    ``unbiased``: a trace that goes on is paid the expectation of its first round's reward, given all of its samples and
    that it went on. Whatever the rule, the expectation is then that of the first round.
    """
    total = sum(whole.shown[0])
    first, more = draws(size), draws(total - size)
    places = {counts: place for place, counts in enumerate(whole.shown)}
    sums = [[tuple(map(sum, zip(one, two, strict=True))) for two in more.shown] for one in first.shown]
    joined = np.array([[places[each] for each in row] for row in sums])
    inside = np.array([[_inside(one, all_) for all_ in whole.shown] for one in first.shown])
    paid = np.repeat(whole_values[None], 1 << size + 1, axis=0)
    if unbiased:
        for code in range(1 << size + 1):
            weights = inside * (code >> first.passed & 1)[:, None]
            by = np.maximum(weights.sum(axis=0), 1)  # 0 where no first round of these samples goes on: never paid
            paid[code] = np.einsum("ij,qib->qjb", weights / by, values)
    return Rounds(RULES[rule], size, first, more, values, joined, paid)


def _inside(some: Sequence[int], of: Sequence[int]) -> int:
    """In how many ways samples that show ``some`` can be chosen from those that show ``of``."""
    return math.prod(math.comb(all_, chosen) for all_, chosen in zip(of, some, strict=True))


# ---- one by one


def until_decided(values: Array, p: Array) -> Array:
    """How many samples are drawn on average, one by one, until the others can change no value.

    Args:
        values: (…, n + 1, columns), by the successes among n samples; all columns have to be decided.
        p: the chance of a success, (…).
    """
    samples = values.shape[-2] - 1
    reached, total = {0: np.ones_like(p)}, np.zeros_like(p)
    for drawn in range(samples):
        following = {successes: np.zeros_like(p) for successes in range(drawn + 2)}
        for successes, chance in reached.items():
            left = values[..., successes : successes + samples - drawn + 1, :]
            going = chance * (left != left[..., :1, :]).any(axis=(-2, -1))
            total += going
            following[successes] += going * (1 - p)
            following[successes + 1] += going * p
        reached = following
    return total
