import pytest

from tracelift_ray.training.schedule import learning_rate


def rates(schedule: str, warmup: int, total: int) -> list[float]:
    return [learning_rate(step, total, peak=1.0, schedule=schedule, warmup_steps=warmup) for step in range(total)]


def test_warm_up_rises_in_equal_steps_and_reaches_the_rate():
    assert rates("constant", 4, 6) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_linear_falls_to_its_last_step_without_reaching_zero():
    assert rates("linear", 0, 4) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_cosine_is_half_way_down_in_the_middle_of_its_fall():
    assert rates("cosine", 2, 6) == pytest.approx([0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447], rel=1e-5)


def test_steps_beyond_the_end_keep_the_last_rate():
    late, last = (learning_rate(step, 4, peak=1.0, schedule="linear", warmup_steps=0) for step in (9, 3))
    assert late == last > 0


def test_unknown_schedules_and_empty_runs_are_refused():
    with pytest.raises(ValueError, match="constant, linear or cosine"):
        learning_rate(0, 4, peak=1.0, schedule="step", warmup_steps=0)
    with pytest.raises(ValueError, match="at least one step"):
        learning_rate(0, 0, peak=1.0, schedule="constant", warmup_steps=0)
