"""Per-request seeds."""

from __future__ import annotations

import itertools
import subprocess
import sys

from tracelift_ray.engines.seeds import SEED_SPACING, request_seed


def test_seeds_are_equal_in_another_process():
    code = "from tracelift_ray.engines.seeds import request_seed; print(request_seed(7, 'planner', 'p-1', 2, 0))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == request_seed(7, "planner", "p-1", 2, 0)


def test_seeds_depend_on_every_part_and_its_type():
    seeds = {
        request_seed(1, "planner", "a", 0),
        request_seed(2, "planner", "a", 0),
        request_seed(1, "executor", "a", 0),
        request_seed(1, "planner", "b", 0),
        request_seed(1, "planner", "a", 1),
        request_seed(1, "planner", "a", "0"),
        request_seed(1, "planner", "a0"),
    }
    assert len(seeds) == 7


def test_samples_of_two_requests_never_share_a_seed():
    seeds = sorted({request_seed(0, "executor", index) for index in range(20_000)})
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert min(later - earlier for earlier, later in itertools.pairwise(seeds)) >= SEED_SPACING
