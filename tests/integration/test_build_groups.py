"""Group builds on the real stack: killed and gone on with, by a model behind a server, from a planner's samples.

The server is a real one on this machine; what it says is canned, so that good replies and useless ones come at known
places.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from launch.conf_files import CONFIG_DIR
from tests.hang import HANG_S
from tests.tiny import make_tiny_llama
from tests.unit.dataset.cases import write_problems
from tests.unit.dataset.code_cases import COUNT_EVEN, UNIQUE
from tests.unit.dataset.configs import build_config
from tracelift_ray.data.problems import write_problems as write_own_form
from tracelift_ray.data.rubric_records import load_rubric_records
from tracelift_ray.dataset.build import build
from tracelift_ray.dataset.llm.edits import FLAWS
from tracelift_ray.dataset.pipeline.outcome import Outcome
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.errors import DataError, InfrastructureError
from tracelift_ray.tasks.table import TASKS, task_of

ROOT = CONFIG_DIR.parent
FILES = ("train.jsonl", "heldout.jsonl", "left_out.jsonl", "README.md")


def judgement(request: str, score: int) -> str:
    """The same score for every dimension that the request asks for."""
    task = next(task for task in TASKS.values() if all(name in request for name in task.dimensions))
    return json.dumps(dict.fromkeys((*task.dimensions, "total"), score))


class CannedModel:
    """An OpenAI-compatible server. Edits add 1 to the first number of the last line; flawed traces are judged worse.

    What it does wrong on purpose: edits of one kind are untagged at first, those of another always rewrite everything;
    some judgements are broken JSON until they are asked for again, some for ever.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.down = False
        self.good: set[str] = set()

    def reply(self, request: str) -> str:
        if "Write the reasoning that leads to the solution" in request:
            return self._tell(request)
        if "Rewrite the reasoning" in request:
            return self._edit(request)
        if "cannot be read" in request:
            self.asked["repair"] += 1
            return judgement(request, 3) if "almost" in request else "I cannot."
        return self._judge(request)

    def _tell(self, request: str) -> str:
        self.asked["tell"] += 1
        if self.asked["tell"] % 2 == 1:  # first the solution itself, which gives it away
            return f"<reasoning>{request.split('Reference solution:')[1].split('Reply with')[0].strip()}</reasoning>"
        about = request.split("Problem: ")[1].splitlines()[0]
        steps = (f"The task is this: {about}", "Go through all that is given.", "None of the 12 items are left out.")
        return "<reasoning>" + "\n".join(steps) + "</reasoning>"

    def _edit(self, request: str) -> str:
        self.asked["edit"] += 1
        trace = request.split("Reasoning:\n")[1].split("\n\nReply")[0]
        self.good.add(trace)
        if "exchanged in one step" in request:
            return "<reasoning>Something else altogether is said here, and it is long enough to be seen.</reasoning>"
        lines = trace.splitlines()
        words = re.sub(r"\d+", lambda match: str(int(match[0]) + 1), lines[-1], count=1)
        edited = "\n".join([*lines[:-1], words])
        if "computed wrong" in request and self.asked["untagged"] % 2 == 0:
            self.asked["untagged"] += 1
            return edited
        self.asked["untagged"] += "computed wrong" in request
        # Edits of different kinds must differ, or they would be one.
        mark = " Then" * (1 + sum(map(ord, request.split("one flaw: ")[1][:20])) % 5)
        return f"<reasoning>{edited.replace(' are left', f'{mark} are left')}</reasoning>"

    def _judge(self, request: str) -> str:
        self.asked["judge"] += 1
        trace = request.split("<reasoning>\n")[1].split("\n</reasoning>")[0]
        if trace in self.good:
            return judgement(request, 10)
        if "Shop 3" in request:
            return "It is almost JSON: " + judgement(request, 3)
        if "Shop 5" in request:
            return "{"
        return f"```json\n{judgement(request, 3)}\n```"


@pytest.fixture
def served() -> Iterator[tuple[CannedModel, str]]:
    """The model and its address."""
    model = CannedModel()

    async def complete(request: web.Request) -> web.Response:
        if model.down:
            return web.json_response({"error": {"message": "out of order"}}, status=400)
        body = await request.json()
        content = model.reply(body["messages"][0]["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        )

    async def models(_: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "x"}]}
        )

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/models", models)])
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    port = runner.addresses[0][1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield model, f"http://127.0.0.1:{port}/v1"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(HANG_S)
    loop.close()


def run(*overrides: str) -> Outcome:
    return asyncio.run(build(build_config(*overrides), say=lambda line: None))


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_a_build_that_is_killed_and_interrupted_ends_with_the_same_bytes(tmp_path: Path) -> None:
    source = write_problems(tmp_path / "in.jsonl", 600)
    command = [sys.executable, "-m", "launch.build_groups", f"source={source}"]
    stage = tmp_path / "broken/stages/traces.jsonl"
    made = b""
    for ending, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            [*command, f"out={tmp_path}/broken"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + HANG_S
        while not (stage.exists() and stage.stat().st_size > len(made) + 2_000) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(ending)
        errors = process.communicate(timeout=HANG_S)[1]
        assert process.returncode == code and errors.strip() in ("", "interrupted")
        whole = stage.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        assert whole.startswith(made) and made.count(b"\n") < whole.count(b"\n") < 600, "it ended on the way"
        made = whole
    assert not (tmp_path / "broken/train.jsonl").exists()
    for name in ("broken", "whole"):
        subprocess.run([*command, f"out={tmp_path}/{name}"], cwd=ROOT, check=True, timeout=HANG_S, capture_output=True)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert stage.read_bytes().startswith(made) and stage.read_bytes().count(b"\n") == 600, "nothing was made twice"


def test_a_model_makes_flaws_and_rubrics_and_what_it_botches_is_dropped(
    tmp_path: Path, served: tuple[CannedModel, str]
) -> None:
    model, url = served
    source = write_problems(tmp_path / "in.jsonl", 10)
    arguments = [
        f"source={source}", f"out={tmp_path}/out", "perturb.kind=llm", "judge=both", "perturb.negatives=10",
        "clean.min_negatives=2", "heldout_fraction=0", f"llm.remote.base_url={url}", "llm.remote.model=m",
    ]  # fmt: skip
    outcome = run(*arguments)
    groups = {int(re.findall(r"Shop (\d+)", g.problem.statement)[0]): g for g in outcome.records}
    assert set(groups) == {1, 2, 3, 4, 6, 7, 8, 9}, "0 has no steps, and the judge never answers readably on 5"
    for group in groups.values():
        assert all(trace.labels == (4,) * 5 and trace.total == 1.0 for trace in group.positives)
        assert all(trace.labels == (1,) * 5 and trace.total == 0.3 for trace in group.negatives)
        assert "swapped_quantities" not in {trace.negative_kind for trace in group.negatives}
    assert model.asked["repair"] > 0
    assert outcome.dropped["no rubric that can be read"] > 0
    assert outcome.dropped["an edit that is not tagged once"] > 0
    changes_all = (
        outcome.dropped["an edit that changes too much"] + outcome.dropped["an edit that changes the length too much"]
    )
    assert changes_all >= 9, "tried, and tried once more"
    assert outcome.agreement is not None and outcome.agreement.traces > 0 and outcome.agreement.order == 1.0
    assert "Agreement of the two judges" in (tmp_path / "out/README.md").read_text()

    asked, card = model.asked.total(), (tmp_path / "out/README.md").read_bytes()
    run(*arguments)
    assert model.asked.total() == asked, "all replies are kept"
    assert (tmp_path / "out/README.md").read_bytes() == card
    run(*arguments, "seed=1")
    assert model.asked.total() > asked


def test_a_model_tells_programs_as_traces_flaws_them_and_judges_them(
    tmp_path: Path, served: tuple[CannedModel, str]
) -> None:
    model, url = served
    write_own_form(tmp_path / "in.jsonl", [COUNT_EVEN, replace(UNIQUE, id="u")])
    outcome = run(
        f"source={tmp_path}/in.jsonl", f"out={tmp_path}/out", "traces.kind=llm", "traces.keep=1", "perturb.kind=llm",
        "perturb.max_changed=0.8", "judge=llm", "clean.min_negatives=2", "heldout_fraction=0",
        f"llm.remote.base_url={url}", "llm.remote.model=m", "concurrency=1",
    )  # fmt: skip
    assert {group.problem.id for group in outcome.records} == {COUNT_EVEN.id, "u"}
    for group in outcome.records:
        (told,) = group.positives
        assert told.reasoning in model.good and told.labels == (4,) * 5
        assert not task_of("code").leaks(group.problem, told.reasoning), "the solution itself was refused"
        assert len(group.negatives) >= 2 and {trace.labels for trace in group.negatives} == {(1,) * 5}
        assert {trace.negative_kind for trace in group.negatives} <= set(FLAWS["code"])
    assert model.asked["tell"] == 4
    assert len(load_rubric_records(tmp_path / "out/train.jsonl")) == 2


def test_a_server_that_fails_ends_the_build_and_the_next_one_goes_on(
    tmp_path: Path, served: tuple[CannedModel, str]
) -> None:
    model, url = served
    source = write_problems(tmp_path / "in.jsonl", 6)
    arguments = [
        f"source={source}", f"out={tmp_path}/out", "judge=llm", "clean.min_positive_total=0", "clean.min_negatives=1",
        f"llm.remote.base_url={url}", "llm.remote.model=m", "llm.remote.retries=0",
    ]  # fmt: skip
    model.down = True
    with pytest.raises(InfrastructureError, match=r"llm: the server refused with 400: .*out of order"):
        run(*arguments)
    assert not (tmp_path / "out/train.jsonl").exists()
    model.down = False
    with pytest.raises(DataError, match="no problem makes a group"):
        run(*arguments)  # Unedited, all traces get the same score here; but the build came to its end.
    assert model.asked["judge"] > 0


def test_sampled_traces_are_kept_where_the_executor_succeeds_with_them(tmp_path: Path) -> None:
    problems = demo_problems("math", 24, 0, "train")
    write_own_form(tmp_path / "in.jsonl", problems)
    demo = CONFIG_DIR.parent / "tracelift_ray/demo/checkpoints"
    outcome = run(
        f"source={tmp_path}/in.jsonl", f"out={tmp_path}/out", "traces.kind=sampled", "traces.samples=4",
        "traces.keep=2", "traces.successes=3", "planner=transformers", f"planner.model={demo}/planner",
        "planner.prompt=demo",
        "planner.max_prompt_tokens=128", "planner.sampling.max_new_tokens=40", "planner.engine.max_model_len=256",
        "executor=transformers", f"executor.model={demo}/executor", "executor.prompt=demo",
        "executor.max_prompt_tokens=192", "executor.sampling.max_new_tokens=40", "executor.engine.max_model_len=256",
        "clean.min_chars=5", "clean.min_negatives=1", "heldout_fraction=0.3", "concurrency=24",
    )  # fmt: skip
    groups = outcome.records
    reasons = dict(outcome.left_out_by_reason())
    assert len(groups) >= 6 and reasons.get("no sampled trace with which the executor succeeds", 0) > 0
    for group in groups:
        assert 1 <= len(group.positives) <= 2
        assert not any(task_of(group.problem.task).leaks(group.problem, trace.reasoning) for trace in group.positives)
        assert group.metadata["traces"] == "sampled"
    assert len(load_rubric_records(tmp_path / "out/train.jsonl")) == len(outcome.train)


def test_a_model_in_this_process_that_writes_no_json_leaves_no_group(tmp_path: Path) -> None:
    source = write_problems(tmp_path / "in.jsonl", 3)
    model = make_tiny_llama(tmp_path / "tiny", seed=0)
    arguments = [
        f"source={source}", f"out={tmp_path}/out", "judge=llm", "llm.engine.kind=transformers", f"llm.model={model}",
        "llm.prompt=plain", "llm.sampling.max_new_tokens=8", "llm.engine.dtype=float32",
    ]  # fmt: skip
    for context in (4096, 300):  # the second is too short for the request, which is no failure of the model
        with pytest.raises(DataError, match=r"no good trace is left 2"):
            run(*arguments, f"llm.engine.max_model_len={context}", f"out={tmp_path}/{context}")
        judged = (tmp_path / f"{context}/stages/judge_llm.jsonl").read_text().splitlines()
        assert len(judged) == 2 and not any(filter(None, json.loads(judged[0])["value"]["rubrics"]))
