"""What the learner is given: the engine's own ids and log-probs, advantages by group, normalisers over all traces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.configs import run_config
from tests.unit.rl.fakes import IDS, completion, group, problems
from tracelift_ray.rl.batch import train_batch
from tracelift_ray.rl.signal import score_group
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.types import Group, Trace, Trajectory

ALGORITHM = run_config("reward=exec_only", "reasoning_rm.model=''").algorithm
TICKET = Ticket(0, 0, problems(1)[0], 0)


def test_samples_carry_the_engines_ids_and_log_probs_unchanged() -> None:
    one = group(TICKET, (0.0, 1.0), 0)
    batch = train_batch([score_group(one, ALGORITHM)], train_overlong=True)
    assert [s.completion_ids for s in batch.samples] == [IDS, IDS]
    assert batch.samples[0].behaviour_logprobs == (-0.1, -0.2, -0.3)
    assert batch.samples[0].prompt_ids == (1, 2)
    assert batch.samples[0].advantage == -batch.samples[1].advantage < 0


def test_masked_traces_have_no_part_in_advantages_or_normalisers() -> None:
    one = group(TICKET, (0.0, 1.0, 0.25), 0)
    masked = replace(one.trajectories[2], reward=None, masked="executor: gone")
    one = replace(one, trajectories=(*one.trajectories[:2], masked))
    scored = score_group(one, ALGORITHM)
    assert scored.advantages == (*score_group(group(TICKET, (0.0, 1.0), 0), ALGORITHM).advantages, None)
    batch = train_batch([scored], train_overlong=True)
    assert (len(batch.samples), batch.num_traces, batch.num_tokens) == (2, 2, 6)


def test_groups_without_signal_count_in_the_normalisers_only() -> None:
    moved, equal = (score_group(group(TICKET, rewards, 0), ALGORITHM) for rewards in ((0.0, 1.0), (0.5, 0.5)))
    assert moved.has_signal and not equal.has_signal and equal.advantages == (0.0, 0.0)
    batch = train_batch([moved], [equal], train_overlong=True)
    assert (len(batch.samples), batch.num_traces, batch.num_tokens, batch.num_groups) == (2, 4, 12, 2)
    assert [sample.group_tokens for sample in batch.samples] == [6, 6]


def test_length_cut_completions_are_left_out_of_the_loss_only_where_asked() -> None:
    cut = replace(completion(), finish_reason="length")
    trajectories = (
        Trajectory(Trace("p0", 0, (1,), cut, None, "length"), reward=0.0),
        Trajectory(Trace("p0", 1, (1,), completion(), "1 + 1"), reward=1.0),
    )
    one = Group(0, TICKET.problem, 0, trajectories)
    scored = score_group(one, ALGORITHM)
    assert len(train_batch([scored], train_overlong=True).samples) == 2
    masked = train_batch([scored], train_overlong=False)
    assert (len(masked.samples), masked.num_traces, masked.num_groups) == (1, 1, 1)
    assert masked.samples[0].group_tokens == 3
    assert masked.samples[0].advantage == scored.advantages[1]


def test_a_completion_without_behaviour_log_probs_is_refused() -> None:
    bare = Trajectory(Trace("p0", 0, (1,), replace(completion(), logprobs=None), "1 + 1"), reward=1.0)
    one = Group(0, TICKET.problem, 0, (bare, replace(bare, reward=0.0)))
    with pytest.raises(ValueError, match="behaviour log-probs"):
        train_batch([score_group(one, ALGORITHM)], train_overlong=True)
