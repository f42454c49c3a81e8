"""The errors that cross module boundaries: there is no result, a member is gone, an input is unusable."""

from __future__ import annotations


class InfrastructureError(Exception):
    """A component failed, so there is no result. Retried on another member, then masked and counted; never a score.

    Args:
        component: the pool or service that failed, such as ``"executor"``.
        cause: one short clause that says what happened.
    """

    def __init__(self, component: str, cause: str) -> None:
        super().__init__(component, cause)
        self.component = component
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.component}: {self.cause}"


class ComponentDead(InfrastructureError):
    """The component will not answer again: its owner has to start another one in its place."""


class TransferBroken(InfrastructureError):
    """A weight transfer ended before all had arrived; the receiver waits for it to be sent again."""


class LearnerLost(InfrastructureError):
    """A rank of the learner died or hangs, and the others with it; what it held is in the newest checkpoint."""


class DataError(ValueError):
    """An input file or one of its records is unusable. The message names file, line, field and rule."""


def first_failure(failure: BaseException) -> BaseException:
    """The first failure inside nested exception groups: the one that ended the other tasks of a task group."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
