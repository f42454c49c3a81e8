"""Which executor samples with the trace are paid as the execution, and which are compared with the baseline.

A way to split them is an entry of ``E2E``, named by ``reward.e2e``. It takes the samples apart into turns, and the
reward is the mean over them, so that K, ``reward.num_samples``, always counts the samples that are compared. Where the
two parts of every turn are apart, the parts of the reward are independent of each other, and its expectation is that of
``fresh`` with the same K: also through the sign, the tie table and the clip of the code reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tracelift_ray.types import Execution

#: The samples that are paid, and those that are compared.
Turn = tuple[Sequence[Execution], Sequence[Execution]]


@dataclass(frozen=True)
class Split:
    """An entry of ``E2E``.

    Attributes:
        more: samples in ``executions`` beyond the K.
        fresh: whether one more is asked for that stays apart from ``executions``.
        apart: whether a sample that is paid is never compared in the same turn, so that one is enough where only the
            execution is paid.
        turns: takes ``executions``, and the fresh sample where there is one, apart.
        words: the samples that are paid, for people; ``{k}`` is K, ``{all}`` the samples in all.
    """

    more: int
    fresh: bool
    apart: bool
    turns: Callable[[Sequence[Execution], Execution | None], list[Turn]]
    words: str


def _fresh(executions: Sequence[Execution], fresh: Execution | None) -> list[Turn]:
    assert fresh is not None
    return [((fresh,), executions)]


def _mean(executions: Sequence[Execution], fresh: Execution | None) -> list[Turn]:
    return [(executions, executions)]


def _leave_one_out(executions: Sequence[Execution], fresh: Execution | None) -> list[Turn]:
    return [((each,), (*executions[:i], *executions[i + 1 :])) for i, each in enumerate(executions)]


E2E: dict[str, Split] = {
    "fresh": Split(0, True, True, _fresh, "one more sample, apart from the K = {k}"),
    "mean": Split(0, False, False, _mean, "the K = {k} samples, mean"),
    "leave_one_out": Split(1, False, True, _leave_one_out, "each of {all} samples in turn, the others being the K"),
}
