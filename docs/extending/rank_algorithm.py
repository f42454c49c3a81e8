"""An advantage estimator: ranks in place of rewards, so that one outlier moves a group no more than another trace.

Traces are ordered by reward and get evenly spaced advantages from -1 to 1; equal ones share the mean of their places.
To install it: put the function into ``tracelift_ray/rl/advantages.py``, and a file ``conf/algorithm/rank.yaml``:

    # Advantages by rank within the group.
    defaults:
      - grpo
      - _self_

    # This estimator.
    advantage: rank
"""

from __future__ import annotations

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.advantages import GroupRewards, estimator


@estimator("rank")
def by_rank(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """The advantages of one group; they sum to zero."""
    below = [sum(other < reward for other in group.rewards) for reward in group.rewards]
    above = [sum(other > reward for other in group.rewards) for reward in group.rewards]
    return tuple((less - more) / (len(group.rewards) - 1) for less, more in zip(below, above, strict=True))
