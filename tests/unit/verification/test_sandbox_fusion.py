"""The client of a code service: what it says of programs, and that failures of the service are no verdicts."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import tenacity

from tests.fusion_service import FusionService, answer_of, fusion_service
from tests.hang import HANG_S
from tests.sandboxes import sandbox_config
from tracelift_ray.config.schema import CodeServiceConfig, SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests
from tracelift_ray.verification import errors
from tracelift_ray.verification.runners import build_runner, runner_slots
from tracelift_ray.verification.sandbox_fusion.runner import SandboxFusion

DOUBLE = CodeTests("stdio", inputs=("1\n", "2\n", "3\n"), outputs=("2", "4", "6"))
ADD = CodeTests("function", asserts=("assert add(1, 2) == 3", "assert add(2, 2) == 4"))
FINISHED = {"status": "Finished", "return_code": 0, "stdout": "2\n", "stderr": "", "execution_time": 0.1}


def config_of(url: str, **changes: Any) -> SandboxConfig:
    service = CodeServiceConfig(url, concurrency=4, timeout_s=HANG_S, retries=1)
    return sandbox_config(runner="sandbox_fusion", service=service, wall_s=HANG_S, **changes)


@pytest.fixture(scope="module")
def service() -> Iterator[FusionService]:
    with fusion_service() as running:
        yield running


@pytest.fixture(scope="module")
def shared(service: FusionService) -> Iterator[SandboxFusion]:
    runner = build_runner(config_of(service.url), slots=1)
    assert isinstance(runner, SandboxFusion)
    yield runner
    runner.close()


@pytest.fixture
def runner(shared: SandboxFusion, service: FusionService, monkeypatch: pytest.MonkeyPatch) -> SandboxFusion:
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none())
    service.requests.clear()
    return shared


def test_a_request_holds_the_fields_of_the_protocol_and_the_limits(
    runner: SandboxFusion, service: FusionService
) -> None:
    verdict = runner.run("print(2 * int(input()))", DOUBLE)
    assert (verdict.outcome, verdict.passed_tests, verdict.total_tests) == ("passed", 3, 3)
    assert [each["stdin"] for each in service.requests] == ["1\n", "2\n", "3\n"]
    first = service.requests[0]
    assert (first["language"], first["run_timeout"], first["memory_limit_MB"]) == ("python", HANG_S, 512)
    assert runner.report.where == f"sandbox_fusion at {service.url}"


@pytest.mark.parametrize(
    ("program", "outcome", "passed", "detail"),
    [
        ("print(1 + int(input()))", "wrong_answer", 1, "test 2 of 3: expected '4', got '3'"),
        ("print(4 / (int(input()) - 2) and 2)", "runtime_error", 1, "test 2 of 3: ZeroDivisionError"),
        ("raise MemoryError", "memory_limit", 0, "test 1 of 3: MemoryError"),
        ("raise SyntaxError('no')", "runtime_error", 0, "test 1 of 3: SyntaxError: no"),
        ("print(", "does_not_compile", 0, "SyntaxError"),
        ("print('\ud800')", "does_not_compile", 0, "no UTF-8"),
        ("print('x' * 70_000)", "output_limit", 0, "test 1 of 3"),
        ("import os; os.kill(os.getpid(), 9)", "runtime_error", 0, "exit code -9"),
    ],
)
def test_whole_programs_get_the_verdict_of_their_first_failing_test(
    runner: SandboxFusion, program: str, outcome: str, passed: int, detail: str
) -> None:
    verdict = runner.run(program, DOUBLE)
    assert (verdict.outcome, verdict.passed_tests, verdict.total_tests) == (outcome, passed, 3)
    assert detail in verdict.detail


def test_the_tests_after_a_failing_one_may_be_left_out(runner: SandboxFusion, service: FusionService) -> None:
    assert runner.run("print(4)", DOUBLE).passed_tests == 1
    assert len(service.requests) == 3
    assert runner.run("print(4)", DOUBLE, stop_early=True).passed_tests == 0
    assert len(service.requests) == 4


def test_a_program_that_runs_too_long_is_over_its_limit(service: FusionService) -> None:
    runner = build_runner(config_of(service.url), slots=1)
    runner._config = replace(runner._config, wall_s=0.2)  # type: ignore[attr-defined]  # after its controls
    try:
        verdict = runner.run("while True: pass", DOUBLE, stop_early=True)
    finally:
        runner.close()
    assert (verdict.outcome, verdict.detail) == ("time_limit", "test 1 of 3: 0.2 s on the clock")


@pytest.mark.parametrize(
    ("program", "outcome", "passed", "detail"),
    [
        ("def add(a, b): return a + b", "passed", 2, ""),
        ("def add(a, b): return 3", "wrong_answer", 1, "test 2 of 2: the assertion does not hold"),
        ("def add(a, b): assert a == 1; return 3", "runtime_error", 1, "test 2 of 2"),
        ("def add(a, b): return a / 0", "runtime_error", 0, "ZeroDivisionError"),
        ("def sub(a, b): return a", "runtime_error", 0, "NameError: name 'add'"),
        ("def add(", "does_not_compile", 0, "SyntaxError"),
        ("import sys; sys.exit(0)", "runtime_error", 0, "SystemExit"),
        ("import os\nprint('passed')\nos._exit(0)", "runtime_error", 0, "ended the process before its test"),
        ("import builtins\nbuiltins.AssertionError = ValueError\ndef add(a, b): return 0", "wrong_answer", 0, "test 1"),
        ("import json\njson.dumps = lambda *a: 'passed'\ndef add(a, b): return 0", "wrong_answer", 0, "test 1"),
        ("import atexit\natexit.register(print, 'passed')\ndef add(a, b): return 0", "wrong_answer", 0, "test 1"),
    ],
)
def test_functions_get_the_verdict_of_their_first_failing_test(
    runner: SandboxFusion, program: str, outcome: str, passed: int, detail: str
) -> None:
    verdict = runner.run(program, ADD)
    assert (verdict.outcome, verdict.passed_tests, verdict.total_tests) == (outcome, passed, 2)
    assert detail in verdict.detail


def test_set_up_entry_points_modules_and_names_of_builtins_are_resolved_as_in_the_sandbox(
    runner: SandboxFusion,
) -> None:
    check = "def check(candidate):\n    assert math.isclose(candidate(LIMIT), 4.0)"
    tests = CodeTests("function", asserts=(check,), setup="import functools\nLIMIT = 16", entry_point="root")
    program = "@functools.cache\ndef root(x): return x ** 0.5\nLIMIT = 'not this'"
    assert runner.run(program, tests).passed
    assert runner.run("def other(x): return x", tests).detail.endswith("does not define root")
    own = CodeTests("function", asserts=("assert sum(2, 3) == 5",))
    assert runner.run("def sum(a, b): return a + b", own).passed


def test_tests_that_are_no_python_are_a_fault_of_the_data(runner: SandboxFusion) -> None:
    with pytest.raises(errors.TestsUnusable, match="test 1: a test is not Python"):
        runner.run("def f(): pass", CodeTests("function", asserts=("assert f( == 1",)))
    with pytest.raises(errors.TestsUnusable, match="the service cannot run a test"):
        runner.run("def f(): pass", CodeTests("function", asserts=("assert np.abs(f()) == 1",)))


def test_a_forged_result_without_the_token_is_none(runner: SandboxFusion) -> None:
    forged = "import os\nos.write(1, b'" + "0" * 32 + " passed " + "\\n')\nos._exit(0)"
    assert runner.run(forged, ADD).outcome == "runtime_error"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((503, b"busy"), "status 503 .busy."),
        ((200, b"<html>"), "an answer that is none"),
        ((200, b"[]"), "an answer that is none"),
        (
            (200, json.dumps(answer_of(FINISHED) | {"status": "SandboxError", "message": "full"}).encode()),
            "failed .*full",
        ),
        ((200, json.dumps(answer_of(FINISHED | {"status": "Error"})).encode()), "could not run a program"),
        ((200, json.dumps(answer_of(FINISHED | {"return_code": None})).encode()), "could not run a program"),
        ((200, json.dumps({"status": "Success", "run_result": {}}).encode()), "an answer that is none"),
    ],
)
def test_a_failure_of_the_service_is_tried_again_and_never_a_verdict(
    runner: SandboxFusion, service: FusionService, answer: tuple[int, bytes], cause: str
) -> None:
    one = CodeTests("stdio", inputs=("1",), outputs=("2",))
    service.scripted = [answer]
    assert runner.run("print(2)", one).passed and len(service.requests) == 2
    service.scripted = [answer, answer]
    with pytest.raises(errors.NoVerdict, match=f"{cause}.* in 2 tries"):
        runner.run("print(2)", one)


def test_a_refusal_is_not_tried_again(runner: SandboxFusion, service: FusionService) -> None:
    service.scripted = [(422, b"no such field")]
    with pytest.raises(errors.NoVerdict, match=r"refused a program with status 422 \(no such field\)"):
        runner.run("print(2)", DOUBLE)
    assert len(service.requests) == 1


def test_a_service_that_is_not_there_or_judges_wrong_is_refused_at_the_start(
    service: FusionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(InfrastructureError, match=r"/run_code: no connection .* in 2 tries"):
            build_runner(config_of(f"http://127.0.0.1:{taken.getsockname()[1]}"), slots=1)
    service.scripted = [(200, json.dumps(answer_of(FINISHED)).encode())]
    with pytest.raises(InfrastructureError, match="a right program was judged wrong_answer, not passed"):
        build_runner(config_of(service.url), slots=1)


def test_closing_ends_a_run_in_progress(service: FusionService) -> None:
    runner = build_runner(config_of(service.url), slots=1)
    service.requests.clear()
    service.hold.clear()
    try:
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(runner.run, "print(2)", DOUBLE)
            while not service.requests:
                time.sleep(0.01)
            runner.close()
            with pytest.raises(InfrastructureError, match="closed while a program was running"):
                running.result(HANG_S)
    finally:
        service.hold.set()
    with pytest.raises(InfrastructureError, match="after it was closed"):
        runner.run("print(2)", DOUBLE)


def test_as_many_programs_run_at_a_time_as_the_service_takes() -> None:
    config = config_of("http://a")
    assert runner_slots(config, cpus=1.0) == 4
    assert runner_slots(replace(config, runner="sandbox"), cpus=2.0) == 2
