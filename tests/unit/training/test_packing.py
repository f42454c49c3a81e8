import random

import pytest

from tracelift_ray.training.packing import plan_micro_batches


def cost(lengths, indices, packed):
    chosen = [lengths[i] for i in indices]
    return sum(chosen) if packed else len(chosen) * max(chosen)


@pytest.mark.parametrize("packed", [False, True])
def test_random_batches_are_covered_once_in_equal_counts_within_the_budget(packed):
    rng = random.Random(0)
    for _ in range(300):
        lengths = [rng.randint(1, 60) for _ in range(rng.randint(0, 24))]
        world, budget = rng.randint(1, 5), rng.randint(1, 150)
        plan = plan_micro_batches(lengths, world, budget, packed=packed)
        assert len(plan.ranks) == world
        assert {len(rank) for rank in plan.ranks} == {plan.num_micro_batches}
        chosen = [i for rank in plan.ranks for batch in rank for i in batch]
        assert sorted(chosen) == list(range(len(lengths)))
        for rank in plan.ranks:
            for batch in rank:
                assert len(batch) <= 1 or cost(lengths, batch, packed) <= budget


def test_every_micro_batch_index_is_busy_on_some_rank():
    rng = random.Random(1)
    for _ in range(100):
        lengths = [rng.randint(1, 60) for _ in range(rng.randint(1, 24))]
        plan = plan_micro_batches(lengths, rng.randint(1, 5), rng.randint(1, 150))
        assert all(any(rank[m] for rank in plan.ranks) for m in range(plan.num_micro_batches))


def test_ranks_are_balanced_to_within_the_longest_sample():
    rng = random.Random(2)
    lengths = [rng.randint(20, 400) for _ in range(64)]
    plan = plan_micro_batches(lengths, 4, 1000)
    loads = [sum(lengths[i] for batch in rank for i in batch) for rank in plan.ranks]
    assert max(loads) - min(loads) <= max(lengths)


def test_longest_first_with_ties_by_index():
    assert plan_micro_batches([3, 9, 3, 9], 1, 18).ranks == (((1, 3), (0, 2)),)


def test_packing_holds_what_padding_would_waste():
    lengths = [50, 10, 10, 10, 10, 10]
    assert plan_micro_batches(lengths, 1, 100).num_micro_batches == 2
    assert plan_micro_batches(lengths, 1, 100, packed=True).num_micro_batches == 1


def test_a_sample_longer_than_the_budget_is_alone():
    assert plan_micro_batches([500, 10, 10], 1, 100).ranks == (((0,), (1, 2)),)


def test_fewer_samples_than_ranks_leaves_the_others_an_empty_micro_batch():
    assert plan_micro_batches([7], 3, 100).ranks == (((0,),), ((),), ((),))


def test_an_empty_batch_has_no_micro_batches():
    assert plan_micro_batches([], 2, 100).num_micro_batches == 0


def test_impossible_arguments_are_refused():
    for lengths, world, budget in (([1], 0, 10), ([1], 1, 0), ([0], 1, 10)):
        with pytest.raises(ValueError):
            plan_micro_batches(lengths, world, budget)
