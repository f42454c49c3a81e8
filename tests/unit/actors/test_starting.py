"""While a system starts, a person reads which of its parts are up."""

from __future__ import annotations

from typing import Any

from actors.system import RaySystem
from tests.configs import run_config


async def test_the_parts_that_are_up_and_those_that_are_not_are_named() -> None:
    system = RaySystem(run_config(), code=False)
    assert (
        system.standing() == "starting actors: none up, waiting for planner, executor, verifier, reasoning_rm, learner"
    )

    class Quick:
        name = "executor"

        async def start(self) -> None:
            pass

    quick: Any = Quick()
    await system._start_pool(quick)
    assert system.standing().endswith(": executor up, waiting for planner, verifier, reasoning_rm, learner")
