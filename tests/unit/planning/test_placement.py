"""The map of a run: which worker lies on which GPUs of which node."""

from __future__ import annotations

import pytest

from tracelift_ray.planning.placement import Assignment, PlacementError, place
from tracelift_ray.planning.resources import Node, PoolDemand


def demand(name: str, workers: int, gpus: float, cpus: float = 1.0) -> PoolDemand:
    return PoolDemand(name, name if name == "learner" else f"{name}.pool", workers, cpus, gpus)


def nodes(*gpus: int, cpus: float = 32.0) -> list[Node]:
    return [Node(f"n{index}", cpus, count) for index, count in enumerate(gpus)]


def where(placed: tuple[Assignment, ...], pool: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(each.node, each.gpus) for each in placed if each.pool == pool]


def test_pools_of_their_own_never_share_a_gpu() -> None:
    asked = [demand("planner", 2, 1), demand("executor", 1, 1), demand("reasoning_rm", 1, 1), demand("learner", 4, 1)]
    placed = place(asked, nodes(8))
    taken = [gpu for each in placed for gpu in each.gpus]
    assert sorted(taken) == list(range(8))


def test_colocated_engines_lie_on_the_gpus_of_the_learners_ranks() -> None:
    asked = [demand("planner", 4, 1), demand("executor", 2, 1), demand("learner", 4, 1)]
    placed = place(asked, nodes(2, 4), share=[["planner", "learner"]])
    assert where(placed, "planner") == where(placed, "learner") == [("n1", (i,)) for i in range(4)]
    assert {node for node, _ in where(placed, "executor")} == {"n0"}


def test_a_tensor_parallel_engine_covers_the_ranks_that_it_shares_with_on_one_node() -> None:
    asked = [demand("planner", 2, 2), demand("learner", 4, 1)]
    placed = place(asked, nodes(2, 2), share=[["planner", "learner"]])
    for index, (node, gpus) in enumerate(where(placed, "planner")):
        assert where(placed, "learner")[2 * index : 2 * index + 2] == [(node, (gpu,)) for gpu in gpus]


def test_fractions_of_one_pool_are_put_together_and_shared_ones_side_by_side() -> None:
    placed = place([demand("executor", 4, 0.5)], nodes(2))
    assert [gpus for _, gpus in where(placed, "executor")] == [(0,), (0,), (1,), (1,)]
    everything = [demand("planner", 1, 0.3), demand("executor", 1, 0.2), demand("learner", 1, 0.5)]
    placed = place(everything, nodes(1), share=[["planner", "executor", "learner"]])
    assert {each.gpus for each in placed} == {(0,)}


def test_the_learner_lies_on_as_few_nodes_as_possible_and_planner_engines_stay_beside_it() -> None:
    asked = [demand("executor", 2, 1), demand("planner", 2, 1), demand("learner", 4, 1)]
    placed = place(asked, nodes(3, 6))
    assert {node for node, _ in where(placed, "learner")} == {"n1"}
    assert {node for node, _ in where(placed, "planner")} == {"n1"}
    wide = place([demand("learner", 6, 1)], nodes(4, 4))
    assert [node for node, _ in where(wide, "learner")] == ["n0"] * 4 + ["n1"] * 2


def test_workers_on_cpus_go_where_no_gpu_is_first() -> None:
    placed = place([demand("verifier", 2, 0, cpus=8), demand("learner", 1, 1)], nodes(1, 0))
    assert {node for node, _ in where(placed, "verifier")} == {"n1"}


def test_a_worker_larger_than_any_node_is_refused_though_the_totals_suffice() -> None:
    with pytest.raises(PlacementError, match=r"1 executor, which need 5 GPUs.*n0 4 GPUs.*n1 4 GPUs.*8 GPUs"):
        place([demand("executor", 1, 5)], nodes(4, 4))


def test_too_few_cpus_are_named_too() -> None:
    with pytest.raises(PlacementError, match=r"3 GPUs and 0 CPUs"):
        place([demand("executor", 2, 1, cpus=4)], nodes(4, cpus=4))


@pytest.mark.parametrize(
    ("asked", "share", "said"),
    [
        ([demand("planner", 2, 1), demand("learner", 4, 1)], [["planner", "learner"]], "planner 2 x 1 GPU, learner 4"),
        ([demand("learner", 2, 0.5)], [], "two ranks cannot share a GPU"),
        ([demand("executor", 1, 1.5)], [], "must be whole, or a fraction below 1"),
        ([demand("planner", 1, 0.7), demand("learner", 1, 0.6)], [["planner", "learner"]], "add up to 1.3"),
    ],
)
def test_what_cannot_share_is_refused_with_the_numbers(asked: list, share: list, said: str) -> None:
    with pytest.raises(PlacementError, match=said):
        place(asked, nodes(8), share)


def test_a_pool_that_shares_with_an_absent_one_has_its_gpus_to_itself() -> None:
    placed = place([demand("planner", 1, 1)], nodes(1), share=[["planner", "learner"]])
    assert where(placed, "planner") == [("n0", (0,))]


def test_the_same_inputs_give_the_same_map() -> None:
    asked = [demand("planner", 3, 1), demand("executor", 2, 2), demand("learner", 4, 1), demand("verifier", 3, 0)]
    assert place(asked, nodes(8, 4)) == place(asked, nodes(8, 4))
