"""The configuration of an older version's run is completed with defaults and new names."""

from omegaconf import OmegaConf

from tests.configs import run_config
from tests.unit.config.composed import compose_config
from tracelift_ray.config.load import plain_config
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.planning.saved import completed


def test_fields_that_a_run_did_not_know_yet_get_their_defaults_and_its_own_values_stay() -> None:
    saved = plain_config(run_config("seed=3", "reward.num_samples=4", "reward.tie_table={2: 0.75}"))
    del saved["reward"]["options"], saved["algorithm"]["loss"]
    saved["algorithm"]["advantage"], saved["sandbox"]["tier"] = "group", "flat"
    config = to_run_config(completed(OmegaConf.create(saved), compose_config()))
    assert (config.seed, config.reward.num_samples, config.reward.tie_table) == (3, 4, {2: 0.75})
    assert (config.reward.options, config.algorithm.loss) == ({}, "ppo_clip")
    assert (config.algorithm.advantage, config.sandbox.tier) == ("grpo", "landlock")


def test_a_run_of_this_version_is_read_as_it_was_saved() -> None:
    config = run_config("reward=uplift_only")
    assert to_run_config(completed(OmegaConf.create(plain_config(config)), compose_config())) == config
