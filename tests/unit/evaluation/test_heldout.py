from types import SimpleNamespace

from tests.unit.config.composed import compose_config
from tests.unit.evaluation.cases import PROBLEMS, System
from tracelift_ray.evaluation.heldout import HeldOutEvaluation
from tracelift_ray.planning.run_config import to_run_config


async def test_the_same_held_out_problems_are_evaluated_each_time_and_their_baselines_once() -> None:
    run = to_run_config(compose_config("experiment=quickstart", "evaluation.problems=2", "evaluation.num_samples=3"))
    system = System()
    system.pools = SimpleNamespace(reasoning_rm=None)  # type: ignore[attr-defined]
    evaluation = HeldOutEvaluation(run, system, PROBLEMS, {"short": lambda problem, text: True})  # type: ignore[arg-type]
    metrics = [await evaluation() for _ in range(2)]
    assert metrics[0] == metrics[1]
    assert metrics[0]["evaluation/math/problems"] == 2 and metrics[0]["evaluation/math/accuracy"] == 1.0
    assert metrics[0]["evaluation/math/uplift"] == 1.0 and metrics[0]["evaluation/math/short"] == 1.0
    assert "evaluation/math/rm_score" not in metrics[0]
    assert len(system.details("planner")) == 4 and len(system.details("baseline")) == 2
    assert all(detail[0] == 0 and detail[1] for detail in system.details("planner"))  # type: ignore[index]
