"""A model in this process answers requests that arrive one by one."""

import asyncio

import pytest

from tests.unit.reasoning_rm.test_scoring_local import ITEMS, config
from tracelift_ray.reasoning_rm.model.reward_model import RewardModelError
from tracelift_ray.reasoning_rm.scoring.local import ModelScorer, RubricScorer


async def test_traces_that_arrive_together_are_scored_together_and_each_gets_its_own(reward_model):
    wanted = [score.score for score in RubricScorer(config(reward_model)).score(ITEMS)]
    scorer = ModelScorer(config(reward_model, max_batch_tokens=10**6))
    await scorer.start()
    rows = []
    scorer._scorer._model.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    scores = await asyncio.gather(*(scorer.score(*item) for item in ITEMS))
    await scorer.close()
    assert [score.score for score in scores] == pytest.approx(wanted, abs=1e-5)
    assert rows == [len(ITEMS)]


async def test_a_model_that_is_not_there_is_known_at_the_start_and_closing_then_is_quiet(tmp_path):
    scorer = ModelScorer(config(str(tmp_path / "nowhere")))
    with pytest.raises(RewardModelError, match="is not a directory"):
        await scorer.start()
    await scorer.close()


async def test_a_model_scores_the_same_after_it_slept_on_the_cpu(reward_model):
    scorer = ModelScorer(config(reward_model))
    await scorer.start()
    before = await scorer.score(*ITEMS[0])
    places = []
    move = scorer._scorer.move
    scorer._scorer.move = lambda device: places.append(device) or move(device)
    await scorer.sleep()
    await scorer.wake()
    assert places == ["cpu", scorer._scorer.device]
    assert await scorer.score(*ITEMS[0]) == before
    await scorer.close()
