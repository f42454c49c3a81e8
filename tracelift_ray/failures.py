"""What a task group's failure was: the one that ended the other tasks."""

from __future__ import annotations


def first_failure(failure: BaseException) -> BaseException:
    """The first failure inside nested exception groups; the failure itself where it is none."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
