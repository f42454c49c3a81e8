"""The worked examples of ``docs/extending`` do what the page says, from the table that they are put into."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.configs import run_config
from tests.tiny import engine_config, make_tokenizer
from tests.unit.reasoning_rm.serving import serving
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import RemoteConfig
from tracelift_ray.data.formats import FORMATS
from tracelift_ray.data.problems import load_problems
from tracelift_ray.engines.kinds import ENGINES, build_engine
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reward.arms import ARMS, requirements
from tracelift_ray.reward.compute import compute_reward, floor_reward
from tracelift_ray.rl.advantages import ESTIMATORS, GroupRewards
from tracelift_ray.tasks.prompts import PromptRenderer
from tracelift_ray.tasks.table import TASKS, read_artifact
from tracelift_ray.types import Artifact, Completion, Execution, Prompt, RubricScore, SamplingParams, Verdict

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "extending"


@contextmanager
def example(name: str, table: dict[str, Any], entries: Callable[[ModuleType], dict[str, Any]]) -> Iterator[ModuleType]:
    """An example with its entries in a table, which is afterwards as it was."""
    before = dict(table)
    spec = importlib.util.spec_from_file_location(f"extending_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        table.update(entries(module))
        yield module
    finally:
        del sys.modules[spec.name]
        table.clear()
        table.update(before)


def test_the_page_shows_every_example_whole() -> None:
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    shown = [line for line in page.splitlines() if line.startswith("--8<--")]
    assert shown and sorted(shown) == sorted(f'--8<-- "docs/extending/{file.name}"' for file in FOLDER.glob("*.py"))


def test_the_task_reads_renders_checks_and_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    prompts = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "prompts.yaml").write_text(f"form: text\ntasks:\n{prompts}")
    assert "yes_no" in yaml.safe_load((tmp_path / "prompts.yaml").read_text())["tasks"]
    record = {"question": "is the sky blue", "passage": "By day the sky is blue.", "answer": True}
    (tmp_path / "boolq.jsonl").write_text(json.dumps(record) + "\n")
    with example("yes_no_task", TASKS, lambda module: {"yes_no": module.YesNoTask()}):
        task = TASKS["yes_no"]
        monkeypatch.setitem(FORMATS, "boolq", task.formats["boolq"])
        (problem,) = load_problems(tmp_path / "boolq.jsonl", "boolq")
        prompt = PromptRenderer(make_tokenizer(), str(tmp_path / "prompts.yaml")).executor(problem, "Look up.")
        assert "By day the sky is blue." in prompt.text and "Look up." in prompt.text
        outcomes = []
        for said in ("#### yes", "The answer is no.", "maybe"):
            artifact = read_artifact(problem, prompt, Completion((1,), said, "stop"))
            outcomes.append(task.verify(problem, artifact, SimpleNamespace()).outcome)  # type: ignore[arg-type]
        assert outcomes == ["passed", "wrong_answer", "no_artifact"]
        told = "It says blue, so the answer is yes."
        assert task.leaks(problem, told) and not task.leaks(problem, task.mask(problem, told))
        assert task.verify(problem, Artifact("no", "no"), SimpleNamespace()).outcome == "wrong_answer"  # type: ignore[arg-type]
        assert task.read_problem({"id": "p", "statement": "1 = 1?", "answer": "Yes"}).answer == "yes"
    assert "yes_no" not in TASKS


def test_the_arm_pays_success_where_the_rubric_trusts_the_trace() -> None:
    with example("gated_arm", ARMS, lambda module: {"gated": module.Gated()}):
        chosen = ("reward.arm=gated", "reward.e2e=mean", "+reward.options.threshold=0.6")
        config = run_config(*chosen).reward
        form = TASKS["math"].reward_form
        assert requirements(config).rubric and not requirements(config).baseline
        passed = [Execution(Artifact("7", "7"), Verdict("passed", 1))] * config.num_samples
        for q, reward in ((0.6, 1.0), (0.59, 0.0)):
            assert compute_reward(config, form, passed, None, None, RubricScore((), q, q)).reward == reward
        assert floor_reward(config, form) == 0.0
        assert ARMS["gated"].formula(form, config) == "e2e where q >= 0.6, else 0"
        with pytest.raises(ConfigError, match=r"reward\.options\.threshold"):
            ARMS["gated"].options(replace(config, options={"threshold": 2.0}))


def test_the_estimator_orders_traces_by_rank() -> None:
    with example("rank_algorithm", ESTIMATORS, lambda module: {}):
        config = run_config("algorithm.advantage=rank").algorithm
        advantages = ESTIMATORS["rank"].advantages
        assert advantages(GroupRewards((0.0, 100.0, 1.0), (1, 1, 1)), config) == (-1.0, 1.0, 0.0)
        assert advantages(GroupRewards((0.5, 0.5, 2.0, -9.0), (1, 1, 1, 1)), config) == (0.0, 0.0, 1.0, -1.0)


async def test_the_engine_asks_the_server_and_invents_nothing() -> None:
    asked: list[dict[str, Any]] = []

    async def complete(request: web.Request) -> web.Response:
        asked.append(await request.json())
        if len(asked) > 2:
            return web.Response(status=500)
        return web.json_response({"content": " 7", "tokens": [5, 6], "stop_type": "limit"})

    async def healthy(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    server = web.Application()
    server.add_routes([web.post("/completion", complete), web.get("/health", healthy)])
    async with serving(server) as address:
        remote = RemoteConfig(f"{address}/", "m", "completions", "", 4, 5.0, 0)
        with example("llamacpp_engine", ENGINES, lambda module: {"llamacpp": module.KIND}):
            engine = build_engine(engine_config(kind="llamacpp"), "", remote=remote)
            await engine.start()
            params = SamplingParams(8, temperature=0.5, n=2, stop=("\n",), seed=3)
            first, _ = await engine.generate(Prompt((1, 2, 3), "abc"), params)
            assert (first.token_ids, first.text, first.finish_reason) == ((5, 6), " 7", "length")
            assert [(each["prompt"], each["n_predict"], each["stop"]) for each in asked] == [([1, 2, 3], 8, ["\n"])] * 2
            assert sorted(each["seed"] for each in asked) == [3, 4]
            with pytest.raises(InfrastructureError, match="500"):
                await engine.generate(Prompt((1,), "a"), replace(params, n=1))
            with pytest.raises(ValueError, match="cannot be trained"):
                build_engine(engine_config(kind="llamacpp"), "", transfer="shared_memory", remote=remote)
            await engine.close()
