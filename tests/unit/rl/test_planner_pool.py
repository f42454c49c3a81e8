"""What the planner's pool knows of the versions that its members have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.rl.planner_pool import PlannerPool
from tracelift_ray.transfer.manifest import Held, WeightManifest, WeightReceipt


class Members:
    """A pool of two; ``failing`` says which member takes no weights, and how it ends."""

    def __init__(self) -> None:
        self.members: list[Any] = [SimpleNamespace(name=name) for name in ("0.0", "1.0")]
        self.failing: dict[str, InfrastructureError] = {}

    async def control(self, member: Any, deadline_s: float, method: str, manifest: WeightManifest) -> WeightReceipt:
        if member.name in self.failing:
            raise self.failing.pop(member.name)
        return WeightReceipt(manifest.version, f"sum-{manifest.version}", ())

    def replace(self, member: Any, cause: str) -> None:
        self.members = [SimpleNamespace(name="1.1") if each is member else each for each in self.members]


def manifest(version: int) -> WeightManifest:
    return WeightManifest(version, "shared_memory", (), "", 1, False, 1.0)


async def test_a_version_is_held_once_every_member_gave_its_receipt_and_no_more_where_one_did_not() -> None:
    members: Any = Members()
    planner = PlannerPool(members, 1.0)
    assert planner.held() is None
    await planner.receive_weights(manifest(3))
    assert planner.held() == Held(3, "sum-3")
    members.failing = {"0.0": TransferBroken("weights", "the channel broke")}
    await planner.receive_weights(manifest(4))
    assert planner.held() is None
    await planner.receive_weights(manifest(4))
    assert planner.held() == Held(4, "sum-4")


async def test_a_member_that_took_the_place_of_another_has_nothing_until_it_took_a_version_itself() -> None:
    members: Any = Members()
    planner = PlannerPool(members, 1.0)
    members.failing = {"1.0": InfrastructureError("weights", "arrived with another checksum")}
    await planner.receive_weights(manifest(3))
    assert planner.receivers() == ("0.0", "1.1") and planner.held() is None
    fresh = planner.only(members.members[1])
    assert fresh.held() is None
    await fresh.receive_weights(manifest(3))
    assert fresh.held() == planner.held() == Held(3, "sum-3")
