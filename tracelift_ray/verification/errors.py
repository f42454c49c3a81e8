"""What is raised instead of a verdict: never a score, always with a cause."""

from __future__ import annotations

from tracelift_ray.errors import InfrastructureError

COMPONENT = "verifier"


class NoVerdict(InfrastructureError):
    """A run of a program ended for a reason that is not the program's. Tried once more, then raised.

    Args:
        cause: one short clause that says what happened.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(COMPONENT, cause)

    def __reduce__(self) -> tuple[type[NoVerdict], tuple[str]]:
        return type(self), (self.cause,)


class NotHandedOver(NoVerdict):
    """This process could not make the files of a run; the slot is not broken."""


class TestsUnusable(NoVerdict):
    """The tests themselves cannot be run, whatever the program: a fault of the data, so there is no second try."""
